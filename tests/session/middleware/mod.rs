//! The middleware in an application.

mod cookies;
mod degraded;
mod errors;
mod hooks;
mod lazy;
mod logging;
mod stack;
mod token_header;

use actix_django_session::{Error, Session, SessionMiddleware, SessionSettings, Store};
use actix_web::{body::MessageBody, dev::ServiceResponse, http::header, test};

async fn count(session: Session) -> Result<String, Error> {
    Ok(session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1)?.to_string())
}

fn cookies<B>(response: &ServiceResponse<B>) -> Vec<String> {
    let lines = response.headers().get_all(header::SET_COOKIE);
    lines.map(|line| line.to_str().unwrap().to_owned()).collect()
}

fn cookie<B>(response: &ServiceResponse<B>, name: &str) -> String {
    let mine = cookies(response).into_iter().find(|line| line.starts_with(&format!("{name}=")));
    let line = mine.unwrap_or_else(|| panic!("no cookie {name}: {:?}", cookies(response)));
    line.split(';').next().unwrap().to_owned()
}

async fn body<B: MessageBody>(response: ServiceResponse<B>) -> String {
    String::from_utf8(test::read_body(response).await.to_vec()).unwrap()
}

fn named(store: &Store, name: &str) -> SessionMiddleware {
    let settings = SessionSettings::default().cookie_name(name);
    SessionMiddleware::new(store.clone()).settings(settings).unwrap()
}
