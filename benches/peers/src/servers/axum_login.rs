//! axum-login on tower-sessions: its layer loads session and user of every request, by the query of the
//! application.

use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    routing::{get, post},
};
use axum_login::{AuthManagerLayerBuilder, AuthUser, AuthnBackend, UserId};
use tokio::net::TcpListener;
use tower_sessions::{Expiry, SessionManagerLayer, cookie::time};
use tower_sessions_sqlx_store::{
    PostgresStore,
    sqlx::{
        self, FromRow, PgPool, Row,
        postgres::{PgPoolOptions, PgRow},
    },
};

use super::{CONNECTIONS, TWO_WEEKS, WORKERS, answer, database};
use crate::{Result, content};

type Answer = Result<String, (StatusCode, String)>;
type AuthSession = axum_login::AuthSession<Backend>;

/// A user as the example of axum-login has one: its password hash is what a session is verified by.
#[derive(Clone, Debug)]
struct User {
    id: i32,
    username: String,
    password: String,
}

impl FromRow<'_, PgRow> for User {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            username: row.try_get("username")?,
            password: row.try_get("password")?,
        })
    }
}

impl AuthUser for User {
    type Id = i32;

    fn id(&self) -> i32 {
        self.id
    }

    fn session_auth_hash(&self) -> &[u8] {
        self.password.as_bytes()
    }
}

#[derive(Clone, Debug)]
struct Backend(PgPool);

impl AuthnBackend for Backend {
    type User = User;
    type Credentials = ();
    type Error = sqlx::Error;

    async fn authenticate(&self, (): ()) -> Result<Option<User>, sqlx::Error> {
        Ok(None) // nobody does it here
    }

    async fn get_user(&self, id: &UserId<Self>) -> Result<Option<User>, sqlx::Error> {
        sqlx::query_as("SELECT * FROM auth_user WHERE id = $1").bind(id).fetch_optional(&self.0).await
    }
}

pub fn serve(port: u16) -> Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(WORKERS).enable_all().build()?.block_on(async {
        let options = PgPoolOptions::new().max_connections(u32::try_from(CONNECTIONS)?);
        let pool = options.connect(&database()?).await?;
        let store = PostgresStore::new(pool.clone());
        store.migrate().await?;
        let sessions = SessionManagerLayer::new(store)
            .with_secure(false)
            .with_expiry(Expiry::OnInactivity(time::Duration::seconds(TWO_WEEKS)));
        let app = Router::new()
            .route("/untouched", get(async || "ok"))
            .route("/read", get(read))
            .route("/user", get(user))
            .route("/create/{user}/{bytes}", post(create))
            .layer(AuthManagerLayerBuilder::new(Backend(pool), sessions).build());
        Ok(axum::serve(TcpListener::bind(("127.0.0.1", port)).await?, app).await?)
    })
}

async fn user(auth: AuthSession) -> Answer {
    Ok(present(&auth)?.username.clone())
}

async fn read(auth: AuthSession) -> Answer {
    let counter = auth.session.get(content::COUNTER).await.map_err(failed)?;
    Ok(answer(&present(&auth)?.id.to_string(), counter.unwrap_or_default()))
}

async fn create(mut auth: AuthSession, Path((user, _)): Path<(i32, usize)>) -> Answer {
    let user = auth.backend.get_user(&user).await.map_err(failed)?;
    auth.login(&user.ok_or_else(nobody)?).await.map_err(failed)?;
    auth.session.insert(content::COUNTER, 0).await.map_err(failed)?;
    read(auth).await
}

fn present(auth: &AuthSession) -> Result<&User, (StatusCode, String)> {
    auth.user.as_ref().ok_or_else(nobody)
}

fn nobody() -> (StatusCode, String) {
    (StatusCode::UNAUTHORIZED, "nobody is logged in".to_owned())
}

fn failed(error: impl ToString) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}
