//! actix-web that does nothing: what no session can be faster than.

use actix_web::{App, HttpServer, rt::System, web};

use super::{KEEP_ALIVE, WORKERS};
use crate::Result;

pub fn serve(port: u16) -> Result<()> {
    let app = || App::new().route("/untouched", web::get().to(untouched));
    let server = HttpServer::new(app).workers(WORKERS).keep_alive(KEEP_ALIVE).bind(("127.0.0.1", port))?;
    Ok(System::new().block_on(server.run())?)
}

async fn untouched() -> &'static str {
    "ok"
}
