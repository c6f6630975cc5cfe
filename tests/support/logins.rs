//! A site with logins that understands the language of `tests/django/site_under_test/ops.py`.

use std::collections::BTreeMap;

use actix_django_session::{
    Error, LazySession,
    auth::{Auth, AuthBackend, AuthSession, Authenticated, Credentials, User},
};
use actix_web::{HttpResponse, error::ErrorInternalServerError, http::StatusCode, web};
use serde_json::{Value, json};

use super::site;

/// A backend of any path, which takes a user's name for proof.
#[derive(Debug)]
pub struct Named {
    pub path: String,
    pub allows_inactive: bool,
}

impl AuthBackend for Named {
    fn path(&self) -> &str {
        &self.path
    }

    async fn authenticate(&self, auth: &Auth, credentials: &Credentials) -> Result<Authenticated, Error> {
        let (Some(name), Some(path)) = (credentials.get("name"), credentials.get("path")) else {
            return Ok(Authenticated::Unknown);
        };
        let user = if path == self.path { auth.users().get_by_username(name).await? } else { None };
        Ok(user.map_or(Authenticated::Unknown, Authenticated::User))
    }

    fn allows_inactive(&self) -> bool {
        self.allows_inactive
    }
}

/// The handler of `POST /ops`.
pub async fn ops(
    auth: AuthSession,
    lazy: LazySession,
    program: web::Json<Vec<Vec<Value>>>,
) -> Result<HttpResponse, actix_web::Error> {
    let (mut status, mut results) = (StatusCode::OK, Vec::new());
    // With the passwords that were set in this request.
    let mut changed: BTreeMap<String, User> = BTreeMap::new();
    for op in &*program {
        let text = |at: usize| op.get(at).and_then(Value::as_str).unwrap_or_default();
        let named = async || -> Result<User, Error> {
            let found = auth.auth().users().get_by_username(text(1)).await?;
            found.ok_or_else(|| Error::value("no such user"))
        };
        results.push(match text(0) {
            "user" => json!(auth.user().await?.map(|user| user.username().to_owned())),
            "login" if op.len() > 2 => {
                let credentials = Credentials::new().with("name", text(1)).with("path", text(2));
                let user = auth.auth().authenticate(&credentials).await?;
                let user = user.ok_or_else(|| ErrorInternalServerError("no such user or backend"))?;
                auth.login(&user).await?;
                Value::Null
            }
            "login" => {
                auth.login(&named().await?).await?;
                Value::Null
            }
            "logout" => {
                auth.logout().await?;
                Value::Null
            }
            "set_password" => {
                let user = auth.auth().set_password(&named().await?, text(2)).await?;
                changed.insert(text(1).to_owned(), user);
                Value::Null
            }
            "update_hash" => {
                let user = match changed.get(text(1)) {
                    Some(user) => user.clone(),
                    None => named().await?,
                };
                auth.update_session_auth_hash(&user).await?;
                Value::Null
            }
            "change_password" => {
                auth.change_password(text(1)).await?;
                Value::Null
            }
            "end_others" => json!(auth.end_other_sessions().await?),
            "perms" => match auth.user().await? {
                Some(user) => json!(user.permissions().await?.all()),
                None => json!([]),
            },
            "sleep" => {
                let time = std::time::Duration::from_secs_f64(op[1].as_f64().unwrap());
                actix_web::rt::time::sleep(time).await;
                Value::Null
            }
            "status" => {
                status = StatusCode::from_u16(op[1].as_u64().unwrap() as u16).unwrap();
                Value::Null
            }
            "raise" => return Err(ErrorInternalServerError("asked for by the operation")),
            other => site::run(&lazy.load().await?, other, &op[1..]).await?,
        });
    }
    Ok(HttpResponse::build(status).json(json!({ "results": results })))
}
