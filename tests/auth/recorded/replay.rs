//! Carries out a recorded case.

use actix_django_session::{
    SecretKey, Session, SessionMiddleware,
    auth::{Auth, AuthMiddleware, UserField, UserKey, UserModel, Users},
};
use actix_web::{
    App,
    cookie::Cookie,
    test::{TestRequest, call_service, init_service, read_body},
    web,
};
use serde_json::{Value, json};

use super::file::{Before, Case, Outcome, Recording};
use crate::{
    support::logins::{self, Named},
    users::Tables,
};

/// A site with one key type, in one database.
pub(crate) struct Site<'a> {
    recording: &'a Recording,
    tables: &'a Tables,
    users: Users,
    table: &'static str,
    login: &'static str,
    /// Sets the columns to what a case begins with.
    reset: String,
}

impl<'a> Site<'a> {
    /// Makes the users of this key type.
    pub(crate) fn new(recording: &'a Recording, tables: &'a Tables, model: &str) -> Self {
        let postgres = tables.is_postgres();
        let (users, table, key, login) = match model {
            "integer" => (tables.users.clone(), "auth_user", "id", "username"),
            "uuid" => {
                let key = if postgres { "uuid" } else { "char(32)" };
                tables.execute(&format!(
                    "CREATE TABLE members (uid {key} PRIMARY KEY, password varchar(128) NOT NULL, \
                     last_login timestamp NULL, email varchar(254) UNIQUE, is_active bool NOT NULL)"
                ));
                let model = UserModel::bare("custom_users", "Member", "email")
                    .table("members")
                    .key("uid", UserKey::Uuid)
                    .column(UserField::IsActive, "is_active");
                (tables.users.with_model(model).unwrap(), "members", "uid", "email")
            }
            _ => {
                tables.execute(
                    "CREATE TABLE devices (serial varchar(40) PRIMARY KEY, password varchar(128) NOT NULL, \
                     last_login timestamp NULL, label varchar(254) UNIQUE)",
                );
                let model = UserModel::bare("custom_users", "Device", "label").table("devices");
                let model = model.key("serial", UserKey::Text);
                (tables.users.with_model(model).unwrap(), "devices", "serial", "label")
            }
        };
        let mut reset = format!("DELETE FROM django_session; UPDATE {table} SET last_login = NULL;");
        for (name, id, is_active) in &recording.users[model] {
            let id = id.as_str().map_or(id.to_string(), str::to_owned);
            let id = if postgres || model != "uuid" { id } else { id.replace('-', "") };
            let column = format!("!column of {name}");
            tables.execute(&match model {
                "integer" => format!(
                    "INSERT INTO auth_user (id, password, username, is_superuser, first_name, last_name, email, \
                     is_staff, is_active, date_joined) VALUES ({id}, '{column}', '{name}', false, '', '', '', \
                     false, {is_active}, '2026-01-01')"
                ),
                "uuid" => format!(
                    "INSERT INTO members (uid, password, email, is_active) VALUES ('{id}', '{column}', '{name}', \
                     {is_active})"
                ),
                _ => format!("INSERT INTO devices (serial, password, label) VALUES ('{id}', '{column}', '{name}')"),
            });
            reset += &format!("UPDATE {table} SET password = '{column}' WHERE {key} = '{id}';");
        }
        Self { recording, tables, users, table, login, reset }
    }

    fn auth(&self, case: &Case) -> Auth {
        let secrets = &self.recording.secrets;
        let key = SecretKey::new(&*secrets[0]).with_fallbacks(secrets[1..].iter().map(String::as_str));
        let mut auth = Auth::new(self.users.clone(), key).unwrap();
        let model = vec!["<Model>".to_owned()];
        for (at, name) in case.backends.as_ref().unwrap_or(&model).iter().enumerate() {
            let path = self.recording.with_values(case, name);
            let backend = Named { path, allows_inactive: name == "<All>" };
            auth = if at == 0 { auth.only_backend(backend) } else { auth.backend(backend) };
        }
        auth
    }

    pub(crate) async fn outcome(&self, case: &Case) -> Outcome {
        self.tables.execute(&self.reset);
        let presented = match self.recording.before(case) {
            Before::NoCookie => None,
            Before::Unknown => Some("unknown0unknown0unknown0unknown0".to_owned()),
            Before::Session(pairs) => {
                let session = Session::new(&self.tables.store);
                session.insert("passing", &1).unwrap();
                session.save().await.unwrap();
                session.discard("passing").unwrap();
                for (name, json) in pairs {
                    session.insert_json(&name, &json).unwrap();
                }
                session.save().await.unwrap();
                session.session_key().map(|key| key.as_str().to_owned())
            }
        };
        let stored = self.data(case, presented.as_deref()).await;
        let mut ops: Vec<Value> = case.ops.iter().map(|op| op.clone().into()).collect();
        ops.push(json!(["status", case.status.unwrap_or(200)]));
        let ops: Value =
            serde_json::from_str(&self.recording.with_values(case, &json!(ops).to_string())).unwrap();
        let auth = self.auth(case);
        let (status, mut results, set) = self.request(auth.clone(), presented.as_deref(), &ops).await;
        if let Some(results) = &mut results {
            results.pop(); // of the status
        }
        let now = match &set {
            Some(value) => Some(value.clone()).filter(|value| !value.is_empty()),
            None => presented.clone(),
        };
        let cookie = set.map(|_| match &now {
            None => "deleted",
            now if *now == presented => "same",
            _ => "new",
        });
        let left = self.data(case, presented.as_deref()).await;
        let before = stored.as_ref().map(|stored| match &left {
            None => "deleted",
            Some(left) if left == stored => "kept",
            Some(_) => "changed",
        });
        let data = match before {
            Some("kept") if now == presented => None,
            _ => self.data(case, now.as_deref()).await,
        };
        let of_these = |key: &str| Some(key) == presented.as_deref() || Some(key) == now.as_deref();
        let rows = self.tables.query("SELECT session_key FROM django_session");
        let (table, login) = (self.table, self.login);
        let logged = format!("SELECT {login} FROM {table} WHERE last_login IS NOT NULL ORDER BY 1");
        let outcome = Outcome {
            status,
            results,
            cookie: cookie.map(str::to_owned),
            before: before.map(str::to_owned),
            data,
            others: rows.iter().filter(|key| !of_these(key)).count(),
            last_login: self.tables.query(&logged),
            then: None,
        };
        let (_, results, _) = self.request(auth, now.as_deref(), &json!([["user"]])).await;
        Outcome { then: results.and_then(|results| results[0].as_str().map(str::to_owned)), ..outcome }
    }

    /// The status, the results and the session's cookie of `POST /ops`.
    async fn request(
        &self,
        auth: Auth,
        key: Option<&str>,
        ops: &Value,
    ) -> (u16, Option<Vec<Value>>, Option<String>) {
        let service = init_service(
            App::new()
                .route("/ops", web::post().to(logins::ops))
                .wrap(AuthMiddleware::new(auth))
                .wrap(SessionMiddleware::new(self.tables.store.clone())),
        )
        .await;
        let mut request = TestRequest::post().uri("/ops").set_json(ops);
        if let Some(key) = key {
            request = request.cookie(Cookie::new("sessionid", key.to_owned()));
        }
        let reply = call_service(&service, request.to_request()).await;
        let (status, cookies) = (reply.status().as_u16(), reply.response().cookies());
        let cookie =
            cookies.filter(|cookie| cookie.name() == "sessionid").map(|c| c.value().to_owned()).next();
        let body: Result<Value, _> = serde_json::from_slice(&read_body(reply).await);
        let results = body.ok().and_then(|body| body["results"].as_array().cloned());
        (status, results, cookie)
    }

    async fn data(&self, case: &Case, key: Option<&str>) -> Option<Vec<(String, String)>> {
        let key = actix_django_session::SessionKey::parse(key?)?;
        let session = Session::open(&self.tables.store, &key).await.unwrap()?;
        let pair = |name: String| {
            let json = self.recording.with_name(case, &session.get_json(&name).unwrap());
            (name, json)
        };
        Some(session.keys().into_iter().map(pair).collect())
    }
}
