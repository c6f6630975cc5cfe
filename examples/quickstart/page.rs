//! The page as HTML. Nothing here is about sessions but what it shows of them.

use actix_django_session::{Error, Session};
use actix_web::{
    HttpResponse,
    dev::ServiceResponse,
    http::header::{ContentType, RETRY_AFTER},
    middleware::ErrorHandlerResponse,
    web::{Html, Redirect},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::table::Row;

/// What a form did, so that the page it leads to can say so.
#[derive(Deserialize)]
pub(crate) struct Query {
    #[serde(default)]
    did: String,
}

/// To the page, by GET: so that a reload does not send the form again.
pub(crate) fn back(did: &str) -> Redirect {
    Redirect::to(format!("/?did={did}")).see_other()
}

fn message(did: &str) -> &str {
    match did {
        "stored" => "Stored.",
        "removed" => "Removed.",
        "refused" => "Refused: keys that begin with _ are Django’s own. Nothing was changed.",
        "expiry" => "The session’s end was set.",
        "rotated" => "Same session, new key: the row was renamed, and the old key is worth nothing.",
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
    // A RawValue is the JSON as it is stored: so this shows whatever Django may have put there.
    let items: Vec<(String, Box<RawValue>)> = session.items()?;
    let [session_key, session_data, expire_date] = row.each_ref().map(|column| escape(column));
    let ends = match session.get_expire_at_browser_close() {
        true => "ends with the browser".to_owned(),
        false => format!("ends in {}", in_words(session.get_expiry_age())),
    };
    // The template's names are checked when this is compiled.
    Ok(Html::new(format!(
        include_str!("page.html"),
        style = include_str!("style.css"),
        message = message(&query.did),
        visits = visits,
        times = if visits == 1 { "visit" } else { "visits" },
        items = items.iter().map(|(key, value)| item(key, value.get())).collect::<String>(),
        ends = ends,
        engine = escape(engine),
        session_key = session_key,
        session_data = session_data,
        expire_date = expire_date,
    )))
}

fn item(key: &str, json: &str) -> String {
    let (name, value) = (escape(key), escape(json));
    let end = match key.starts_with('_') {
        true => "<small>Django’s own</small>".to_owned(),
        false => format!(
            "<form method=post action=/remove><input type=hidden name=key value=\"{name}\">\
             <button aria-label=\"Remove {name}\">Remove</button></form>"
        ),
    };
    format!("<li><b>{name}</b><code>{value}</code>{end}</li>\n")
}

/// Whatever answers 503, the visitor gets this page, which tries again by itself.
pub(crate) fn away<B>(response: ServiceResponse<B>) -> actix_web::Result<ErrorHandlerResponse<B>> {
    let page = format!(include_str!("away.html"), style = include_str!("style.css"));
    let page = HttpResponse::ServiceUnavailable()
        .insert_header((RETRY_AFTER, "3"))
        .content_type(ContentType::html())
        .body(page);
    Ok(ErrorHandlerResponse::Response(response.into_response(page).map_into_right_body()))
}

/// For text and for attributes in double quotes.
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
