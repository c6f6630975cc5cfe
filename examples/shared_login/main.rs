//! A Django site and an actix-web service behind one port: one session, one login, one cart.
//!
//! ```text
//! cargo run --features auth,csrf,messages,sqlite --example shared_login     # http://127.0.0.1:8000
//! ```
//!
//! It is a shop in the middle of a migration. Rust serves `/rust/…`; everything else is forwarded to Django,
//! with its admin. The first start installs Django into a virtual environment below `target/shared_login`,
//! where the SQLite database is too. Needs `python3` and, once, the network.
//!
//! `PORT` selects another port, `DEMO_DIR` another directory. `PYTHON` names a Python that has Django 5.2 or
//! newer and gunicorn already: nothing is installed then. `SECRET_KEY` is Django's; without it the demo makes
//! one and keeps it in its directory. `DEBUG=1` shows Django's error pages.

mod account;
mod cart;
mod django;
mod page;
mod proxy;
mod python;

use std::{
    env,
    error::Error as StdError,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use actix_django_session::{
    SecretKey, SessionKey, SessionMiddleware, Store,
    auth::{Auth, AuthMiddleware, AuthSettings, Users, password::PasswordHashers},
    backend::Sqlite,
    csrf::CsrfMiddleware,
    messages::MessagesMiddleware,
};
use actix_web::{App, HttpServer, web};

use self::{cart::Catalogue, django::Site, proxy::Upstream};

#[actix_web::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(std::io::stderr)
        .init();
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shared_login: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Box<dyn StdError>> {
    let port = env::var("PORT").unwrap_or_else(|_| "8000".to_owned());
    let port: u16 = port.parse().map_err(|_| format!("PORT has to be a number up to 65535, not {port:?}"))?;
    let dir = directory()?;
    let site = Site { python: python::find(&dir)?, secret: secret(&dir)?, dir };
    site.prepare()?;
    let django = site.start()?;

    // The same secret, the same tables and the same way to hash passwords as Django.
    let secret = SecretKey::new(site.secret.clone());
    let sqlite = Sqlite::open(site.database()).await?;
    let auth = Auth::new(Users::sqlite(&sqlite), secret.clone())?
        .hashers(PasswordHashers::django(python::django_version(&site.python)?))?
        .settings(AuthSettings::default().login_url("/rust/sign-in").login_redirect_url("/rust/"))?;
    let auth = AuthMiddleware::new(auth);
    let session = SessionMiddleware::new(Store::new(sqlite, secret.clone()));
    let messages = MessagesMiddleware::new(secret);
    let csrf = CsrfMiddleware::new();
    let catalogue = web::Data::new(Catalogue::read()?);
    let upstream = web::Data::new(Upstream(django.address()));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(catalogue.clone())
            .app_data(upstream.clone())
            .service(
                web::scope("/rust")
                    .route("/", web::get().to(account::you))
                    .route("/sign-in", web::get().to(account::sign_in_page))
                    .route("/sign-in", web::post().to(account::sign_in))
                    .route("/sign-out", web::post().to(account::sign_out))
                    .route("/message", web::post().to(account::leave_message))
                    .route("/cart", web::get().to(cart::show))
                    .route("/cart/change", web::post().to(cart::change))
                    // The last one is the outermost: the others use the session.
                    .wrap(csrf.clone())
                    .wrap(messages.clone())
                    .wrap(auth.clone())
                    .wrap(session.clone()),
            )
            // Outside of them: Django checks its own requests.
            .default_service(web::to(proxy::forward))
    })
    .shutdown_timeout(5)
    .bind(("127.0.0.1", port))
    .map_err(|error| format!("cannot listen on 127.0.0.1:{port} (PORT selects another port): {error}"))?;
    for address in server.addrs() {
        println!("Open http://{address}");
    }
    println!(
        "Sign in as {} with the password \"{}\". Ctrl-C stops both halves.",
        django::USER,
        django::PASSWORD
    );
    server.run().await?;
    drop(django);
    Ok(())
}

/// The directory of everything that the demo makes: `target/shared_login`, beside this program's own.
fn directory() -> Result<PathBuf, String> {
    let beside_program =
        || env::current_exe().ok()?.ancestors().nth(3).map(|target| target.join("shared_login"));
    let dir = env::var_os("DEMO_DIR").map(PathBuf::from).or_else(beside_program);
    let dir = dir.ok_or("the program has no directory: set DEMO_DIR to one for the demo")?;
    let dir = std::path::absolute(&dir).unwrap_or(dir);
    fs::create_dir_all(&dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
    Ok(dir)
}

/// Django's SECRET_KEY. A new one at the next start would sign everybody out.
fn secret(dir: &Path) -> Result<String, String> {
    if let Ok(secret) = env::var("SECRET_KEY") {
        return Ok(secret);
    }
    let file = dir.join("secret_key");
    if let Ok(secret) = fs::read_to_string(&file) {
        return Ok(secret);
    }
    // Also a key of 32 random characters.
    let secret = format!("{}{}", SessionKey::generate().as_str(), SessionKey::generate().as_str());
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(true);
    // Nobody else on this machine may sign sessions.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(&file)
        .and_then(|mut file| file.write_all(secret.as_bytes()))
        .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    Ok(secret)
}
