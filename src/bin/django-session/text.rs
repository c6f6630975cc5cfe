//! `encode` and `decode`: one stored text, or one JSON object, per line.

use std::io::{self, BufRead as _};

use actix_django_session::codec::{JsonSerializer, PickleSerializer, SessionData};

use crate::{
    args::{EncodeArgs, SerializerName},
    context::{Context, UNCHECKED},
    error::{CliError, Result, Status},
    json,
    output::{Output, error},
};

pub(crate) fn encode(context: &Context, args: &EncodeArgs, out: &mut Output) -> Result {
    let codec = match args.serializer {
        SerializerName::Json => context.codec(JsonSerializer)?,
        SerializerName::Pickle => context.codec(PickleSerializer::new())?,
    };
    each_line(|line| match SessionData::from_json(line).and_then(|data| codec.encode(&data)) {
        Ok(mut text) => {
            text.push(b'\n');
            out.bytes(&text).map(Ok)
        }
        Err(error) => Ok(Err(error.with_causes())),
    })
}

pub(crate) fn decode(context: &Context, out: &mut Output) -> Result {
    if !context.has_secret() {
        error(UNCHECKED);
    }
    let reader = context.reader();
    each_line(|line| match reader.decode(line) {
        Ok(decoded) => out.line(json::line(&decoded.data)).map(Ok),
        Err(error) => Ok(Err(error.text())),
    })
}

/// Calls `convert` with each line of standard input that is not blank, and reports those that it refuses.
fn each_line(mut convert: impl FnMut(&str) -> io::Result<Result<(), String>>) -> Result {
    let (mut input, mut bytes, mut status) = (io::stdin().lock(), Vec::new(), Status::Success);
    for number in 1_u64.. {
        bytes.clear();
        if input.read_until(b'\n', &mut bytes).map_err(CliError::cannot_read("standard input"))? == 0 {
            break;
        }
        // Other blanks stay: they can be part of the signed text.
        let converted = match str::from_utf8(&bytes).map(|line| line.trim_end_matches(['\r', '\n'])) {
            Ok(line) if line.trim().is_empty() => Ok(()),
            Ok(line) => convert(line)?,
            Err(_) => Err("this is not UTF-8".to_owned()),
        };
        if let Err(why) = converted {
            status = Status::Failed;
            error(&format!("line {number}: {why}"));
        }
    }
    Ok(status)
}
