//! The token in the body of a form: the body is read once, within bounds, and still reaches the handler.

use std::borrow::Cow;

use actix_web::{
    HttpMessage, HttpRequest,
    dev::{Payload, ServiceRequest},
    http::header,
    web::{Bytes, BytesMut},
};
use futures_util::{StreamExt as _, stream};
use percent_encoding::percent_decode_str;

use super::{content_type::ContentType, multipart::Multipart};
use crate::web::header_line;

/// The name of the form's field.
pub(super) const FIELD: &str = "csrfmiddlewaretoken";

/// How much of a form is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    pub(super) fields: usize,
}

/// Forms that are answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadForm {
    TooLarge,
    TooManyFields,
    Charset,
    Multipart,
}

impl BadForm {
    /// For the log.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::TooLarge => "its form is longer than max_form_bytes (DATA_UPLOAD_MAX_MEMORY_SIZE)",
            Self::TooManyFields => {
                "its form has more fields than max_form_fields (DATA_UPLOAD_MAX_NUMBER_FIELDS)"
            }
            Self::Charset => "its form is not UTF-8",
            Self::Multipart => "its multipart form has no usable boundary, or a part with too long headers",
        }
    }
}

/// The field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Missing,
    /// The form goes on behind what is searched: it has files in front of the token.
    NotReached,
    Value(String),
}

/// The last value of the field, if the request has a form.
pub(super) async fn token(req: &mut ServiceRequest, limits: Limits) -> Result<Field, BadForm> {
    let Some(content_type) = header_line(req.headers(), header::CONTENT_TYPE.as_str()) else {
        return Ok(Field::Missing);
    };
    let content_type = ContentType::parse(&content_type);
    match content_type.essence.as_str() {
        "application/x-www-form-urlencoded" => {
            // Django knows more charsets, but refuses them too. 4.2 took them.
            if content_type.parameter("charset").is_some_and(|name| !name.eq_ignore_ascii_case("utf-8")) {
                return Err(BadForm::Charset);
            }
            if declared_length(req.request()).is_some_and(|length| length > limits.bytes) {
                return Err(BadForm::TooLarge);
            }
            let body = read(req, limits.bytes).await;
            if !body.is_complete {
                return Err(BadForm::TooLarge);
            }
            urlencoded(&body.bytes, limits.fields)
        }
        "multipart/form-data" => {
            let form = Multipart::new(&content_type)?;
            let body = read(req, limits.bytes).await;
            let found = form.last_field(&body.bytes, FIELD, limits.fields, body.is_complete)?;
            match found.value {
                _ if !body.is_complete && !found.has_files => Err(BadForm::TooLarge),
                Some(value) => Ok(Field::Value(value)),
                None if !body.is_complete => Ok(Field::NotReached),
                None => Ok(Field::Missing),
            }
        }
        _ => Ok(Field::Missing),
    }
}

fn declared_length(req: &HttpRequest) -> Option<usize> {
    req.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// The beginning of a body.
struct Read {
    bytes: Bytes,
    /// Whether this is all that can be read, also if the client broke off.
    is_complete: bool,
}

/// Reads up to `limit` bytes, or one chunk more, and puts them back.
async fn read(req: &mut ServiceRequest, limit: usize) -> Read {
    let mut payload = req.take_payload();
    let (mut bytes, mut error) = (BytesMut::new(), None);
    let is_complete = loop {
        match payload.next().await {
            Some(Ok(chunk)) => bytes.extend_from_slice(&chunk),
            Some(Err(broken)) => {
                error = Some(Err(broken));
                break true;
            }
            None => break true,
        }
        if bytes.len() > limit {
            break false;
        }
    };
    let bytes = bytes.freeze();
    let first = (!bytes.is_empty()).then(|| Ok(bytes.clone()));
    let again = stream::iter(first).chain(stream::iter(error)).chain(payload);
    req.set_payload(Payload::Stream { payload: Box::pin(again) });
    Read { bytes, is_complete }
}

/// Django's `QueryDict`.
fn urlencoded(body: &[u8], max_fields: usize) -> Result<Field, BadForm> {
    if body.iter().filter(|&&byte| byte == b'&').count() >= max_fields && !body.is_empty() {
        return Err(BadForm::TooManyFields);
    }
    let text: Cow<'_, str> = match std::str::from_utf8(body) {
        Ok(text) => text.into(),
        Err(_) => body.iter().map(|&byte| char::from(byte)).collect::<String>().into(),
    };
    let mut value = Field::Missing;
    for pair in text.split('&') {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        if decode(name) == FIELD {
            value = Field::Value(decode(text));
        }
    }
    Ok(value)
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}
