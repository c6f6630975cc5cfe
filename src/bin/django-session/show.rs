//! `show` and `list`: one session in full, or all in a line each.

use std::{io::Read as _, time::SystemTime};

use actix_django_session::{SessionKey, Store, codec::SessionData};
use indicatif::DecimalBytes;
use serde_json::{Value, json};

use crate::{
    args::ShowArgs,
    context::Context,
    database::Database,
    error::{CliError, Result, Status},
    json::{line, pretty},
    output::{Output, date, error, from_now, iso, printable},
    reader::{Decoded, secret_name},
    text_format::{TextFormat, is_compressed},
    user_args::ListArgs,
    users,
};

/// A session as `show` prints it.
struct ShownSession {
    key: String,
    expires: SystemTime,
    /// Length of the stored value.
    size: Option<usize>,
    /// The stored value, if it is text that Django writes.
    text: Option<String>,
    /// The text as it was decoded.
    decoded: Option<Decoded>,
    data: Result<SessionData, String>,
}

pub(crate) async fn show(context: &Context, args: &ShowArgs, out: &mut Output) -> Result {
    let key = match args.key.as_str() {
        "-" => read_key()?,
        key => key.to_owned(),
    };
    let store = context.store().await?;
    context.note_unchecked_signatures();
    let found = match context.database().await? {
        Some(database) => from_table(&database, &key).await?,
        None => from_store(&store, &key).await?,
    };
    let key = context.key(&key);
    let Some(mut session) = found else {
        error(&format!("there is no session {key}"));
        return Ok(Status::NotFound);
    };
    session.key = key;
    if let Some(text) = session.text.as_ref().filter(|_| context.is_signed()) {
        match context.reader().decode(text) {
            Ok(decoded) => {
                session.data = Ok(decoded.data.clone());
                session.decoded = Some(decoded);
            }
            Err(error) => session.data = Err(error.text()),
        }
    }
    match args {
        ShowArgs { raw: true, .. } => {
            if let Ok(data) = &session.data {
                out.line(line(data))?;
            }
        }
        ShowArgs { json: true, .. } => out.line(session.json(context.signature_checked()))?,
        _ => session.print(out)?,
    }
    match session.data {
        Ok(_) => Ok(Status::Success),
        Err(why) => Err(CliError::new(format!("the session {} cannot be read: {why}", session.key))),
    }
}

impl ShownSession {
    fn print(&self, out: &mut Output) -> Result<()> {
        out.line(format_args!("key      {}", self.key))?;
        if let Ok(data) = &self.data {
            let user = user_id(data).map_or("anonymous".to_owned(), |user| printable(&user));
            out.line(format_args!("user     {user}"))?;
        }
        let expired = if self.is_expired() { ", expired" } else { "" };
        out.line(format_args!("expires  {}, {}{expired}", date(self.expires), from_now(self.expires)))?;
        if let Some(size) = self.size {
            let compressed = if self.is_compressed() == Some(true) { ", compressed" } else { "" };
            out.line(format_args!("stored   {}{compressed}", DecimalBytes(size as u64)))?;
        }
        if let (Some(decoded), Some(text)) = (&self.decoded, &self.text) {
            let secret = decoded.secret.map(secret_name);
            out.line(format_args!(
                "signed   by {}",
                secret.as_deref().unwrap_or("an unknown secret, not checked")
            ))?;
            let django = TextFormat::of(text).written_by();
            out.line(format_args!("format   {}, {django}", decoded.serializer()))?;
        }
        if let Ok(data) = &self.data {
            out.line(format_args!("\n{}", pretty(data)))?;
        }
        Ok(())
    }

    fn json(&self, signature_checked: Option<bool>) -> String {
        let decoded = self.decoded.as_ref();
        let format = decoded.and(self.text.as_deref()).map(|text| TextFormat::of(text).written_by());
        let all: [(&str, Value); 10] = [
            ("key", self.key.as_str().into()),
            ("expires", iso(self.expires).into()),
            ("expired", self.is_expired().into()),
            ("user", self.data.as_ref().ok().and_then(user_id).into()),
            ("stored_bytes", self.size.into()),
            ("compressed", self.is_compressed().into()),
            ("signature_checked", signature_checked.into()),
            ("signed_by", decoded.and_then(|decoded| decoded.secret).map(secret_name).into()),
            ("serializer", decoded.map(Decoded::serializer).into()),
            ("format", format.into()),
        ];
        // The data verbatim: `Value` does not hold every number.
        let fields: String = all.iter().map(|(name, value)| format!("\"{name}\":{value},")).collect();
        let data = self.data.as_ref().map_or("null".to_owned(), line);
        format!("{{{fields}\"data\":{data}}}")
    }

    fn is_expired(&self) -> bool {
        self.expires <= SystemTime::now()
    }

    fn is_compressed(&self) -> Option<bool> {
        self.text.as_deref().map(is_compressed)
    }
}

/// The user who is logged in by Django's login.
pub(crate) fn user_id(data: &SessionData) -> Option<String> {
    serde_json::from_str(data.get_json("_auth_user_id")?).ok()
}

/// The row, expired or not.
async fn from_table(database: &Database, key: &str) -> Result<Option<ShownSession>> {
    if key.contains('\0') {
        return Ok(None); // PostgreSQL's text has no NUL
    }
    let sql = format!("SELECT session_data, expire_date FROM {} WHERE session_key = $1", database.table);
    let rows = database.rows(&sql, &[&key]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (text, expires): (String, SystemTime) = (row.try_get(0)?, row.try_get(1)?);
    let (size, data) = (Some(text.len()), Err(String::new()));
    Ok(Some(ShownSession { key: String::new(), expires, size, text: Some(text), decoded: None, data }))
}

async fn from_store(store: &Store, key: &str) -> Result<Option<ShownSession>> {
    let Some(key) = SessionKey::parse(key) else { return Ok(None) };
    let Some(entry) = store.entry(&key).await? else {
        return match store.exists(&key).await? {
            true => Err(CliError::new("the session has expired, and only PostgreSQL shows expired ones")),
            false => Ok(None),
        };
    };
    let text = entry.value.as_deref().and_then(|value| str::from_utf8(value).ok());
    let text = text.filter(|text| TextFormat::of(text) != TextFormat::Unknown).map(str::to_owned);
    let (size, data) =
        (entry.value.map(|value| value.len()), entry.data.map_err(|error| error.with_causes()));
    Ok(Some(ShownSession { key: String::new(), expires: entry.expires, size, text, decoded: None, data }))
}

fn read_key() -> Result<String> {
    let mut text = String::new();
    let read = std::io::stdin().take(10_000).read_to_string(&mut text);
    read.map_err(CliError::cannot_read("the key from standard input"))?;
    Ok(text.trim().to_owned())
}

pub(crate) async fn list(context: &Context, args: &ListArgs, out: &mut Output) -> Result {
    let store = context.store().await?;
    let wanted = match &args.username {
        Some(name) => match users::id_of(&store, &args.model.user_model, name).await? {
            None => return Ok(Status::NotFound),
            id => id,
        },
        None => args.user.clone(),
    };
    let mut sessions = store.sessions();
    context.note_unchecked_signatures();
    let mut listed = 0;
    while args.limit.is_none_or(|limit| listed < limit) {
        let Some(session) = sessions.next().await? else { break };
        let user = session.user_id();
        if session.is_expired() != args.expired || (wanted.is_some() && wanted != user) {
            continue;
        }
        listed += 1;
        let key = context.key(session.key.as_str());
        let why = session.data.as_ref().err().map(|error| error.to_string());
        if args.json {
            let (expires, checked) = (iso(session.expires), context.signature_checked());
            out.line(json!({
                "key": key, "user": user, "expires": expires, "unreadable": why, "signature_checked": checked,
            }))?;
            continue;
        }
        let user = match (&user, &why) {
            (Some(user), _) => format!("user {}", printable(user)),
            (None, None) => "anonymous".to_owned(),
            (None, Some(_)) => "unreadable".to_owned(),
        };
        let (date, from_now) = (date(session.expires), from_now(session.expires));
        let why = why.map(|why| format!("  {why}")).unwrap_or_default();
        out.line(format_args!("{key}  {user:<20}  {date}  {from_now}{why}"))?;
    }
    Ok(Status::Success)
}
