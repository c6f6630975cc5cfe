//! `encode` and `decode`: stored texts and JSON, a line each.

use std::io::{self, BufRead as _};

use actix_django_session::{
    codec::{JsonSerializer, PickleSerializer},
    store::SessionData,
};

use crate::{
    args::{EncodeArgs, Format},
    exit::{Exit, Failure},
    json,
    output::{Out, complain},
    site::Site,
};

pub(crate) fn encode(site: &Site, args: &EncodeArgs, out: &mut Out) -> Result<Exit, Failure> {
    let codec = match args.serializer {
        Format::Json => site.codec(JsonSerializer)?,
        Format::Pickle => site.codec(PickleSerializer::new())?,
    };
    each_line(|line| {
        let data = SessionData::from_json(line).and_then(|data| codec.encode(&data));
        match data {
            Ok(text) => out.line(text).map(Ok),
            Err(error) => Ok(Err(error.with_causes())),
        }
    })
}

pub(crate) fn decode(site: &Site, out: &mut Out) -> Result<Exit, Failure> {
    let reader = site.reader()?;
    each_line(|line| match reader.open(line) {
        Ok(opened) => out.line(json::line(&opened.data)).map(Ok),
        Err(closed) => Ok(Err(closed.text())),
    })
}

/// Hands over each line of standard input that is not blank, and reports those that are refused.
fn each_line(mut work: impl FnMut(&str) -> io::Result<Result<(), String>>) -> Result<Exit, Failure> {
    let (mut input, mut bytes, mut exit) = (io::stdin().lock(), Vec::new(), Exit::Done);
    for number in 1_u64.. {
        bytes.clear();
        let read = input.read_until(b'\n', &mut bytes);
        if read.map_err(|error| Failure::text(format!("cannot read standard input: {error}")))? == 0 {
            break;
        }
        // No blank is dropped: a signature can cover it.
        let done = match str::from_utf8(&bytes).map(|line| line.trim_end_matches(['\r', '\n'])) {
            Ok(line) if line.trim().is_empty() => Ok(()),
            Ok(line) => work(line)?,
            Err(_) => Err("this is no UTF-8".to_owned()),
        };
        if let Err(why) = done {
            exit = Exit::Failed;
            complain(&format!("line {number}: {why}"));
        }
    }
    Ok(exit)
}
