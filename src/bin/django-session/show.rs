//! `show`: all about one session.

use std::{io::Read as _, time::SystemTime};

use actix_django_session::store::{AnyStore, Listed, Loaded, SessionData};
use serde_json::{Value, json};

use crate::{
    args::ShowArgs,
    database::Database,
    exit::{Exit, Failure},
    json::{line, pretty},
    output::{Out, bytes, complain, date, from_now, iso, printable, shown},
    reader::{Opened, secret_name},
    shape::Shape,
    site::Site,
};

/// A session as it was found.
struct Found {
    expires: SystemTime,
    /// What is stored, if that is text.
    text: Option<String>,
    size: Option<usize>,
    /// What the store has read itself.
    data: Result<SessionData, String>,
}

pub(crate) async fn run(
    site: &Site,
    args: &ShowArgs,
    full_keys: bool,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let reader = site.reader()?;
    let key = match args.key.as_str() {
        "-" => from_stdin()?,
        key => key.to_owned(),
    };
    let store = site.store().await?;
    let database = if site.has_cache() { None } else { site.database().await? };
    let found = match &database {
        Some(database) => row(database, &key).await?,
        None => load(&store, &key).await?,
    };
    let Some(mut found) = found else {
        complain(&format!("there is no session {}", shown(&key, full_keys)));
        return Ok(Exit::NotFound);
    };
    let mut opened = None;
    if let Some(text) = &found.text {
        match reader.open(text) {
            Ok(it) => {
                found.data = Ok(it.data.clone());
                opened = Some(it);
            }
            Err(closed) => found.data = found.data.map_err(|_| closed.text()),
        }
    }
    let key = shown(&key, full_keys);
    match args {
        ShowArgs { raw: true, .. } => {
            if let Ok(data) = &found.data {
                out.line(line(data))?;
            }
        }
        ShowArgs { json: true, .. } => out.line(as_json(&key, &found, opened.as_ref()))?,
        _ => plain(&key, &found, opened.as_ref(), out)?,
    }
    match found.data {
        Ok(_) => Ok(Exit::Done),
        Err(why) => Err(Failure::text(format!("the session {key} cannot be read: {why}"))),
    }
}

fn plain(key: &str, found: &Found, opened: Option<&Opened>, out: &mut Out) -> Result<(), Failure> {
    let shape = found.text.as_deref().map(Shape::of);
    out.line(format_args!("key      {key}"))?;
    if let Ok(data) = &found.data {
        let user = user(found, data).map_or("anonymous".to_owned(), |user| printable(&user));
        out.line(format_args!("user     {user}"))?;
    }
    let expired = if found.expires <= SystemTime::now() { ", expired" } else { "" };
    out.line(format_args!("expires  {}, {}{expired}", date(found.expires), from_now(found.expires)))?;
    if let Some(size) = found.size {
        let how = if shape == Some(Shape::Compressed) { ", compressed" } else { "" };
        out.line(format_args!("stored   {}{how}", bytes(size as u64)))?;
    }
    if let (Some(opened), Some(shape)) = (opened, shape) {
        out.line(format_args!("opened   by {}", secret_name(opened.secret)))?;
        out.line(format_args!("format   {}, {}", serializer(opened), shape.django(opened.legacy)))?;
    }
    if let Ok(data) = &found.data {
        out.line(format_args!("\n{}", pretty(data)))?;
    }
    Ok(())
}

fn as_json(key: &str, found: &Found, opened: Option<&Opened>) -> String {
    let mut all =
        json!({"key": key, "expires": iso(found.expires), "expired": found.expires <= SystemTime::now()});
    let shape = found.text.as_deref().map(Shape::of);
    let user = found.data.as_ref().ok().and_then(|data| user(found, data));
    let more: [(&str, Value); 6] = [
        ("user", user.into()),
        ("stored_bytes", found.size.into()),
        ("compressed", shape.map(|shape| shape == Shape::Compressed).into()),
        ("opened_by", opened.map(|opened| secret_name(opened.secret)).into()),
        ("serializer", opened.map(serializer).into()),
        ("format", opened.zip(shape).map(|(opened, shape)| shape.django(opened.legacy)).into()),
    ];
    for (name, value) in more {
        all[name] = value;
    }
    // The data as they are: a number that no `Value` holds is a number all the same.
    let all = all.to_string();
    let data = found.data.as_ref().map_or("null".to_owned(), line);
    format!("{},\"data\":{data}}}", all.strip_suffix('}').unwrap_or_default())
}

fn serializer(opened: &Opened) -> &'static str {
    if opened.pickled { "pickle" } else { "JSON" }
}

fn user(found: &Found, data: &SessionData) -> Option<String> {
    // The way of the library is that of a listed session.
    let key = actix_django_session::SessionKey::generate();
    Listed { key, expires: found.expires, data: Ok(data.clone()) }.user_id()
}

/// The row, expired or not.
async fn row(database: &Database, key: &str) -> Result<Option<Found>, Failure> {
    if key.contains('\0') {
        return Ok(None); // which no text in PostgreSQL does
    }
    let sql = format!("SELECT session_data, expire_date FROM {} WHERE session_key = $1", database.table);
    let rows = database.rows(&sql, &[&key]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let text: String = row.try_get(0).map_err(crate::database::explain)?;
    let expires = row.try_get(1).map_err(crate::database::explain)?;
    Ok(Some(Found { expires, size: Some(text.len()), text: Some(text), data: Err(String::new()) }))
}

async fn load(store: &AnyStore, key: &str) -> Result<Option<Found>, Failure> {
    let Some(key) = store.parse_key(key) else { return Ok(None) };
    Ok(match store.load(&key).await? {
        Loaded::Found(record) => {
            let text = record.seen.as_str();
            let text = (Shape::of(text) != Shape::Foreign).then(|| text.to_owned());
            let size = Some(record.seen.as_bytes().len()).filter(|size| *size > 0);
            Some(Found { expires: record.expires, text, size, data: Ok(record.data) })
        }
        Loaded::Unreadable(error) => {
            return Err(Failure::text(format!("it cannot be read: {}", error.with_causes())));
        }
        _ if store.exists(&key).await? => return Err(Failure::text("it is there, and has expired")),
        _ => None,
    })
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(10_000).read_to_string(&mut text);
    read.map_err(|error| Failure::text(format!("cannot read the key from standard input: {error}")))?;
    Ok(text.trim().to_owned())
}
