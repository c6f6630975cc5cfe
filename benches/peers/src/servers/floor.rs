//! The floor: what one writes by hand on a table like Django's. A pooled connection, prepared statements,
//! JSON in Base64, no signature.

use std::time::{Duration, SystemTime};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    cookie::{Cookie, SameSite, time},
    error::{ErrorInternalServerError, ErrorUnauthorized},
    rt::System,
    web,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use rand::distr::{Alphanumeric, SampleString as _};
use serde_json::{Value, json};
use tokio_postgres::NoTls;

use super::{CONNECTIONS, KEEP_ALIVE, TWO_WEEKS, WORKERS, answer, database};
use crate::{Result, content};

type Answer = actix_web::Result<HttpResponse>;

const COOKIE: &str = "sid";

pub fn serve(port: u16) -> Result<()> {
    let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(database()?.parse()?, NoTls, config);
    let pool = Pool::builder(manager).max_size(CONNECTIONS).build()?;
    let app = move || {
        App::new()
            .app_data(web::Data::new(pool.clone()))
            .route("/untouched", web::get().to(|| async { "ok" }))
            .route("/read", web::get().to(read))
            .route("/user", web::get().to(user))
            .route("/write", web::post().to(write))
            .route("/create/{user}/{bytes}", web::post().to(create))
    };
    let server = HttpServer::new(app).workers(WORKERS).keep_alive(KEEP_ALIVE).bind(("127.0.0.1", port))?;
    Ok(System::new().block_on(server.run())?)
}

async fn read(pool: web::Data<Pool>, request: HttpRequest) -> Answer {
    let (_, session) = load(&pool, &request).await?;
    said(&session)
}

async fn user(pool: web::Data<Pool>, request: HttpRequest) -> Answer {
    let connection = pool.get().await.map_err(ErrorInternalServerError)?;
    let (_, session) = load_over(&connection, &request).await?;
    let id: i32 = session[content::USER].as_str().and_then(|id| id.parse().ok()).unwrap_or_default();
    let sql = "SELECT username FROM auth_user WHERE id = $1 AND is_active";
    let statement = connection.prepare_cached(sql).await.map_err(ErrorInternalServerError)?;
    let row = connection.query_opt(&statement, &[&id]).await.map_err(ErrorInternalServerError)?;
    let row = row.ok_or_else(|| ErrorUnauthorized("no user"))?;
    Ok(HttpResponse::Ok().body(row.try_get::<_, String>(0).map_err(ErrorInternalServerError)?))
}

async fn write(pool: web::Data<Pool>, request: HttpRequest) -> Answer {
    let (key, mut session) = load(&pool, &request).await?;
    session[content::COUNTER] = json!(session[content::COUNTER].as_u64().unwrap_or_default() + 1);
    let connection = pool.get().await.map_err(ErrorInternalServerError)?;
    let sql = "UPDATE floor_session SET session_data = $2, expire_date = $3 WHERE session_key = $1";
    let statement = connection.prepare_cached(sql).await.map_err(ErrorInternalServerError)?;
    let updated = connection.execute(&statement, &[&key, &encode(&session), &expires()]).await;
    if updated.map_err(ErrorInternalServerError)? == 0 {
        return Err(ErrorUnauthorized("the session has ended"));
    }
    said(&session)
}

async fn create(pool: web::Data<Pool>, path: web::Path<(String, usize)>) -> Answer {
    let (user, bytes) = path.into_inner();
    let mut session = json!({
        content::USER: user,
        content::BACKEND: content::BACKEND_VALUE,
        content::HASH: content::HASH_VALUE,
        content::COUNTER: 0,
    });
    if bytes > 0 {
        session[content::CART] = content::cart(bytes);
    }
    let key = Alphanumeric.sample_string(&mut rand::rng(), 32);
    let connection = pool.get().await.map_err(ErrorInternalServerError)?;
    let sql = "INSERT INTO floor_session VALUES ($1, $2, $3)";
    let statement = connection.prepare_cached(sql).await.map_err(ErrorInternalServerError)?;
    let inserted = connection.execute(&statement, &[&key, &encode(&session), &expires()]).await;
    inserted.map_err(ErrorInternalServerError)?;
    let cookie = Cookie::build(COOKIE, key).path("/").http_only(true).same_site(SameSite::Lax);
    let cookie = cookie.max_age(time::Duration::seconds(TWO_WEEKS)).finish();
    Ok(HttpResponse::Ok().cookie(cookie).body(answer(&user, 0)))
}

async fn load(pool: &Pool, request: &HttpRequest) -> actix_web::Result<(String, Value)> {
    let connection = pool.get().await.map_err(ErrorInternalServerError)?;
    load_over(&connection, request).await
}

async fn load_over(connection: &Object, request: &HttpRequest) -> actix_web::Result<(String, Value)> {
    let cookie = request.cookie(COOKIE).ok_or_else(|| ErrorUnauthorized("no cookie"))?;
    let key = cookie.value().to_owned();
    let sql = "SELECT session_data FROM floor_session WHERE session_key = $1 AND expire_date > $2";
    let statement = connection.prepare_cached(sql).await.map_err(ErrorInternalServerError)?;
    let row = connection.query_opt(&statement, &[&key, &SystemTime::now()]).await;
    let row = row.map_err(ErrorInternalServerError)?.ok_or_else(|| ErrorUnauthorized("no session"))?;
    let text: &str = row.try_get(0).map_err(ErrorInternalServerError)?;
    let json = STANDARD.decode(text).map_err(ErrorInternalServerError)?;
    Ok((key, serde_json::from_slice(&json)?))
}

fn encode(session: &Value) -> String {
    STANDARD.encode(session.to_string())
}

fn expires() -> SystemTime {
    SystemTime::now() + Duration::from_secs(TWO_WEEKS.unsigned_abs())
}

fn said(session: &Value) -> Answer {
    let user = session[content::USER].as_str().unwrap_or_default();
    Ok(HttpResponse::Ok().body(answer(user, session[content::COUNTER].as_u64().unwrap_or_default())))
}
