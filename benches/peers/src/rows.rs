//! The tables, filled beforehand, and made so again between the turns.

use actix_django_session::{SecretKey, SessionKey, codec::Codec, store::SessionData};
use serde_json::json;

use crate::{Result, content, postgres::Postgres};

// What was there beforehand has this end, and nothing else has.
const FOREVER: &str = "2099-01-01";

// Django's own DDL, the same for the floor, and tower-sessions' (which makes no index on the date).
const TABLES: &str = r#"
    CREATE TABLE django_session (session_key varchar(40) NOT NULL PRIMARY KEY, session_data text NOT NULL,
        expire_date timestamp with time zone NOT NULL);
    CREATE INDEX django_session_session_key_c0390e0f_like ON django_session (session_key varchar_pattern_ops);
    CREATE INDEX django_session_expire_date_a5c62663 ON django_session (expire_date);
    CREATE TABLE floor_session (LIKE django_session INCLUDING ALL);
    CREATE SCHEMA tower_sessions;
    CREATE TABLE tower_sessions.session (id text PRIMARY KEY NOT NULL, data bytea NOT NULL,
        expiry_date timestamptz NOT NULL);
"#;

/// Each table with its column of the date.
const DATES: [(&str, &str); 3] = [
    ("django_session", "expire_date"),
    ("floor_session", "expire_date"),
    ("tower_sessions.session", "expiry_date"),
];

/// Makes the tables and puts so many sessions into each.
pub fn fill(postgres: &Postgres, rows: usize) -> Result<()> {
    postgres.script(TABLES)?;
    let codec = Codec::new(SecretKey::new(content::SECRET));
    let mut done = 0;
    while done < rows {
        let end = rows.min(done + 10_000);
        let (mut keys, mut texts) = (Vec::new(), Vec::new());
        for user in done..end {
            keys.push(SessionKey::generate().as_str().to_owned());
            texts.push(codec.encode(&login(user)?)?);
        }
        let rows = "unnest($1::text[], $2::text[]) AS new(key, text)";
        let sql = format!("INSERT INTO django_session SELECT key, text, '{FOREVER}' FROM {rows}");
        postgres.execute(&sql, &[&keys, &texts])?;
        done = end;
    }
    // Nobody reads these: what counts is that they are there, and how long they are.
    postgres.script(
        "INSERT INTO floor_session SELECT * FROM django_session;
         INSERT INTO tower_sessions.session SELECT left(session_key, 22), left(session_data, 230)::bytea, expire_date
             FROM django_session",
    )?;
    for (table, _) in DATES {
        postgres.script(&format!("VACUUM ANALYZE {table}"))?; // on its own: it takes no transaction around it
    }
    postgres.script("CHECKPOINT")
}

/// Takes away what a turn has left.
pub fn tidy(postgres: &Postgres) -> Result<()> {
    for (table, date) in DATES {
        postgres.script(&format!("DELETE FROM {table} WHERE {date} <> '{FOREVER}'"))?;
        postgres.script(&format!("VACUUM {table}"))?;
    }
    Ok(())
}

/// The session of somebody who has logged in on Django.
pub fn login(user: usize) -> Result<SessionData> {
    let session = json!({
        content::USER: format!("{user:06}"),
        content::BACKEND: content::BACKEND_VALUE,
        content::HASH: content::HASH_VALUE,
        content::COUNTER: 0,
    });
    Ok(SessionData::from_json(session.to_string())?)
}
