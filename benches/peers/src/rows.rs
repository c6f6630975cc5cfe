//! The tables, filled beforehand, and made so again between the turns.

use actix_django_session::{
    SecretKey, SessionKey,
    codec::{Codec, SessionData},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::{Result, content, postgres::Postgres};

// The rows of the start have this expiry, and no others have.
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

const COLUMNS: &str = "session_key varchar(40) NOT NULL, session_data text NOT NULL, \
                       expire_date timestamp with time zone NOT NULL";

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
            texts.push(signed(&codec, user)?);
        }
        let rows = "unnest($1::text[], $2::text[]) AS new(key, text)";
        let sql = format!("INSERT INTO django_session SELECT key, text, '{FOREVER}' FROM {rows}");
        postgres.execute(&sql, &[&keys, &texts])?;
        done = end;
    }
    // No test reads these: only their number and their length matter.
    postgres.script(
        "INSERT INTO floor_session SELECT * FROM django_session;
         INSERT INTO tower_sessions.session
             SELECT left(session_key, 22), left(session_data, 230)::bytea, expire_date FROM django_session",
    )?;
    for (table, _) in DATES {
        postgres.script(&format!("VACUUM ANALYZE {table}"))?; // on its own: it takes no transaction around it
    }
    postgres.script("CHECKPOINT")
}

/// Makes Django's table and the floor's anew, with so many sessions in each, and gives the keys of some.
pub fn fill_greatly(postgres: &Postgres, rows: usize) -> Result<Vec<String>> {
    begin_anew(postgres, &["django_session", "floor_session"])?;
    let codec = Codec::new(SecretKey::new(content::SECRET));
    let texts: Result<Vec<String>> = (0..SOME).map(|user| signed(&codec, user)).collect();
    // As `encode(…, 'base64')` has it, but in one line.
    let plain: Result<Vec<String>> =
        (0..SOME).map(|user| Ok(STANDARD.encode(login(user)?.to_json()))).collect();
    for (table, texts) in [("django_session", texts?), ("floor_session", plain?)] {
        let sql = format!(
            "INSERT INTO {table} SELECT {KEY}, ($1::text[])[1 + n % {SOME}], '{FOREVER}' \
             FROM generate_series(1, {rows}) AS n"
        );
        postgres.execute(&sql, &[&texts])?;
        end(postgres, table)?;
    }
    let some = postgres.rows(&format!(
        "SELECT {KEY} FROM generate_series(1, {rows}, greatest(1, {rows} / 200000)) AS n ORDER BY random()"
    ))?;
    some.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Makes Django's table anew, with so many sessions that expired in the last 30 days and as many live ones
/// as usual.
pub fn fill_with_expired(postgres: &Postgres, expired: usize, live: usize) -> Result<()> {
    begin_anew(postgres, &["django_session"])?;
    let codec = Codec::new(SecretKey::new(content::SECRET));
    let texts: Result<Vec<String>> = (0..SOME).map(|user| signed(&codec, user)).collect();
    // In the order in which they were made, which is nearly the one in which they end.
    let sql = format!(
        "INSERT INTO django_session SELECT {KEY}, ($1::text[])[1 + n % {SOME}], CASE WHEN n <= {expired} \
         THEN now() - interval '30 days' * (1 - n::float / {expired}) - random() * interval '1 day' \
         ELSE '{FOREVER}' END FROM generate_series(1, {expired} + {live}) AS n"
    );
    postgres.execute(&sql, &[&texts?])?;
    end(postgres, "django_session")
}

/// Different texts in a great table.
const SOME: usize = 500; // in an array of texts, PostgreSQL finds one by counting from the first

/// The key of the n-th session.
const KEY: &str = "md5('session' || n::text)";

fn begin_anew(postgres: &Postgres, tables: &[&str]) -> Result<()> {
    for table in tables {
        postgres.script(&format!("DROP TABLE {table}"))?;
        postgres.script(&format!("CREATE TABLE {table} ({COLUMNS})"))?;
    }
    Ok(())
}

/// Creates the indexes of a filled table.
fn end(postgres: &Postgres, table: &str) -> Result<()> {
    for statement in [
        format!("ALTER TABLE {table} ADD PRIMARY KEY (session_key)"),
        format!("CREATE INDEX ON {table} (session_key varchar_pattern_ops)"),
        format!("CREATE INDEX ON {table} (expire_date)"),
        format!("VACUUM ANALYZE {table}"),
        "CHECKPOINT".to_owned(),
    ] {
        postgres.script(&statement)?;
    }
    Ok(())
}

/// Takes away what a turn has left.
pub fn tidy(postgres: &Postgres) -> Result<()> {
    for (table, date) in DATES {
        postgres.script(&format!("DELETE FROM {table} WHERE {date} <> '{FOREVER}'"))?;
        postgres.script(&format!("VACUUM {table}"))?;
    }
    Ok(())
}

fn signed(codec: &Codec, user: usize) -> Result<String> {
    Ok(String::from_utf8(codec.encode(&login(user)?)?)?)
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
