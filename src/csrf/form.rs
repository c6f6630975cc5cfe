//! The token in the body of a form: the body is read once, within bounds, and still reaches the handler.

use std::{borrow::Cow, time::Duration};

use actix_web::{
    HttpRequest,
    dev::ServiceRequest,
    http::{StatusCode, header},
};
use percent_encoding::percent_decode_str;

use super::{
    body::{self, Buffers},
    content_type::ContentType,
    multipart::Multipart,
};
use crate::web::header_line;

/// The name of the form's field.
pub(super) const FIELD: &str = "csrfmiddlewaretoken";

/// How much of a form is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    pub(super) fields: usize,
    pub(super) timeout: Duration,
}

/// Forms that are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadForm {
    TooLarge,
    TooManyFields,
    Charset,
    Multipart,
    /// The client sends too slowly.
    Late,
    /// Too many others are read.
    NoRoom,
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
            Self::Late => "its form did not come within form_timeout",
            Self::NoRoom => {
                "no room for its form: others fill max_buffered_bytes. Raise it if they are legitimate"
            }
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::TooLarge | Self::TooManyFields | Self::Charset | Self::Multipart => StatusCode::BAD_REQUEST,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
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
pub(super) async fn token(
    req: &mut ServiceRequest,
    limits: Limits,
    buffers: &Buffers,
) -> Result<Field, BadForm> {
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
            let body = body::read(req, limits.bytes, limits.timeout, buffers).await?;
            if !body.is_complete {
                return Err(BadForm::TooLarge);
            }
            urlencoded(&body.bytes, limits.fields)
        }
        "multipart/form-data" => {
            let form = Multipart::new(&content_type)?;
            let body = body::read(req, limits.bytes, limits.timeout, buffers).await?;
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
