//! The page as HTML. It only shows the session.

use actix_django_session::{Error, Session};
use actix_web::{
    HttpResponse,
    dev::ServiceResponse,
    http::header::{ContentType, RETRY_AFTER},
    middleware::ErrorHandlerResponse,
    web::{Html, Redirect},
};
use serde::Deserialize;

use crate::table::Row;

/// The result of the form, for the message on the next page.
#[derive(Deserialize)]
pub(crate) struct Query {
    #[serde(default)]
    did: String,
}

/// Redirects to the page by GET, so that a reload does not send the form again.
pub(crate) fn back(did: &str) -> Redirect {
    Redirect::to(format!("/?did={did}")).see_other()
}

fn message(did: &str) -> &str {
    match did {
        "stored" => "Stored.",
        "removed" => "Removed.",
        "refused" => "Refused: keys that begin with _ are Django’s own. Nothing was changed.",
        "expiry" => "The session’s expiry was set.",
        "rotated" => "Same session, new key: the row was renamed, and the old key is worthless.",
        "flushed" => "The old session is gone. This is a new one, under a new key.",
        _ => "",
    }
}

pub(crate) fn index(
    session: &Session,
    visits: u64,
    row: &Row,
    query: &Query,
    engine: &str,
) -> Result<Html, Error> {
    // As text, since Django may have stored values that have no type in Rust, such as a list with a NaN.
    let items = session.keys().into_iter().filter_map(|key| Some((session.get_json(&key)?, key)));
    let [session_key, session_data, expire_date] = row.each_ref().map(|column| escape(column));
    let expires = match session.get_expire_at_browser_close() {
        true => "expires with the browser".to_owned(),
        false => format!("expires in {}", in_words(session.get_expiry_age() as i64)),
    };
    // The compiler checks the names in the template.
    Ok(Html::new(format!(
        include_str!("page.html"),
        style = include_str!("style.css"),
        message = message(&query.did),
        visits = visits,
        times = if visits == 1 { "visit" } else { "visits" },
        items = items.map(|(json, key)| item(&key, &json)).collect::<String>(),
        expires = expires,
        engine = escape(engine),
        session_key = session_key,
        session_data = session_data,
        expire_date = expire_date,
    )))
}

fn item(key: &str, json: &str) -> String {
    let (name, value) = (escape(key), escape(json));
    let action = match key.starts_with('_') {
        true => "<small>Django’s own</small>".to_owned(),
        false => format!(
            "<form method=post action=/remove><input type=hidden name=key value=\"{name}\">\
             <button aria-label=\"Remove {name}\">Remove</button></form>"
        ),
    };
    format!("<li><b>{name}</b><code>{value}</code>{action}</li>\n")
}

/// Replaces every 503 by a page that reloads itself.
pub(crate) fn away<B>(response: ServiceResponse<B>) -> actix_web::Result<ErrorHandlerResponse<B>> {
    let page = format!(include_str!("away.html"), style = include_str!("style.css"));
    let page = HttpResponse::ServiceUnavailable()
        .insert_header((RETRY_AFTER, "3"))
        .content_type(ContentType::html())
        .body(page);
    Ok(ErrorHandlerResponse::Response(response.into_response(page).map_into_right_body()))
}

/// Escapes text, and attributes in double quotes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn in_words(seconds: i64) -> String {
    let (number, unit) = match seconds {
        172_800.. => (seconds / 86_400, "days"),
        7200.. => (seconds / 3600, "hours"),
        120.. => (seconds / 60, "minutes"),
        _ => (seconds, "seconds"),
    };
    format!("{number} {unit}")
}
