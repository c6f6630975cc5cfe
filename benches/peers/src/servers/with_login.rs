//! This crate with Django's login, as its README shows it: around everything, inside the session.

use actix_django_session::{
    Error, SecretKey, SessionMiddleware, Store,
    auth::{Auth, AuthMiddleware, AuthSession, Credentials, User, Users},
};
use actix_web::{App, HttpServer, rt::System, web};

use super::{KEEP_ALIVE, WORKERS, database, ours};
use crate::{Result, content};

pub fn serve(port: u16) -> Result<()> {
    System::new().block_on(async {
        let secret = SecretKey::new(content::SECRET);
        let store = Store::connect(&database()?, secret.clone()).await?;
        let auth = AuthMiddleware::new(Auth::new(Users::of(&store)?, secret)?);
        let session = SessionMiddleware::new(store);
        let app = move || {
            App::new()
                .wrap(auth.clone())
                .wrap(session.clone())
                .route("/user", web::get().to(user))
                .configure(ours::routes)
                .route("/login/{name}", web::post().to(login))
        };
        let server = HttpServer::new(app).workers(WORKERS).keep_alive(KEEP_ALIVE);
        Ok(server.bind(("127.0.0.1", port))?.run().await?)
    })
}

async fn user(user: User) -> String {
    user.username().to_owned()
}

/// An attempt with a wrong password.
async fn login(auth: AuthSession, name: web::Path<String>) -> Result<&'static str, Error> {
    let credentials = Credentials::password(name.into_inner(), content::WRONG_PASSWORD);
    Ok(if auth.authenticate(&credentials).await?.is_some() { "yes" } else { "no" })
}
