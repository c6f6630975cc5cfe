//! tower-sessions with its PostgreSQL store, under axum.

use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    routing::{get, post},
};
use tokio::net::TcpListener;
use tower_sessions::{Expiry, Session, SessionManagerLayer, cookie::time, session::Error};
use tower_sessions_sqlx_store::{PostgresStore, sqlx::postgres::PgPoolOptions};

use super::{CONNECTIONS, TWO_WEEKS, WORKERS, answer, database};
use crate::{Result, content};

type Answer = Result<String, (StatusCode, String)>;

pub fn serve(port: u16) -> Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(WORKERS).enable_all().build()?.block_on(async {
        let options = PgPoolOptions::new().max_connections(u32::try_from(CONNECTIONS)?);
        let store = PostgresStore::new(options.connect(&database()?).await?);
        store.migrate().await?;
        let sessions = SessionManagerLayer::new(store)
            .with_secure(false)
            .with_expiry(Expiry::OnInactivity(time::Duration::seconds(TWO_WEEKS)));
        let app = Router::new()
            .route("/untouched", get(async || "ok"))
            .route("/read", get(read))
            .route("/write", post(write))
            .route("/create/{user}/{bytes}", post(create))
            .layer(sessions);
        Ok(axum::serve(TcpListener::bind(("127.0.0.1", port)).await?, app).await?)
    })
}

async fn read(session: Session) -> Answer {
    let counter = session.get(content::COUNTER).await.map_err(failed)?;
    said(&session, counter.unwrap_or_default()).await
}

async fn write(session: Session) -> Answer {
    let counter: Option<u64> = session.get(content::COUNTER).await.map_err(failed)?;
    let counter = counter.unwrap_or_default() + 1;
    session.insert(content::COUNTER, counter).await.map_err(failed)?;
    said(&session, counter).await
}

async fn create(session: Session, Path((user, bytes)): Path<(String, usize)>) -> Answer {
    session.insert(content::USER, &user).await.map_err(failed)?;
    session.insert(content::BACKEND, content::BACKEND_VALUE).await.map_err(failed)?;
    session.insert(content::HASH, content::HASH_VALUE).await.map_err(failed)?;
    session.insert(content::COUNTER, 0).await.map_err(failed)?;
    if bytes > 0 {
        session.insert(content::CART, content::cart(bytes)).await.map_err(failed)?;
    }
    said(&session, 0).await
}

async fn said(session: &Session, counter: u64) -> Answer {
    match session.get::<String>(content::USER).await.map_err(failed)? {
        Some(user) => Ok(answer(&user, counter)),
        None => Err((StatusCode::UNAUTHORIZED, "no session".to_owned())),
    }
}

fn failed(error: Error) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}
