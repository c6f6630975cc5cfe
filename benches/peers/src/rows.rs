//! The tables, filled beforehand, and made so again between the turns.

use actix_django_session::{
    SecretKey, SessionKey,
    codec::{Codec, SessionData},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use tower_sessions::{
    cookie::time::{self, OffsetDateTime},
    session::{Id, Record},
};

use crate::{
    Result,
    contender::{self, Contender, Keeps},
    content,
    postgres::Postgres,
    servers::TWO_WEEKS,
};

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

/// The keys of the sessions of the start; the n-th is that of user n.
#[derive(Debug)]
pub struct Keys {
    /// In Django's table and in the floor's.
    pub django: Vec<String>,
    pub tower: Vec<String>,
}

/// A table of sessions.
#[derive(Debug)]
struct Table {
    name: &'static str,
    key: &'static str,
    date: &'static str,
}

const DJANGO: Table = Table { name: "django_session", key: "session_key", date: "expire_date" };
const FLOOR: Table = Table { name: "floor_session", key: "session_key", date: "expire_date" };
const TOWER: Table = Table { name: "tower_sessions.session", key: "id", date: "expiry_date" };

const COLUMNS: &str = "session_key varchar(40) NOT NULL, session_data text NOT NULL, \
                       expire_date timestamp with time zone NOT NULL";

/// Makes the tables and puts so many sessions into each, with a copy of the rows for [`restore`].
pub fn fill(postgres: &Postgres, rows: usize) -> Result<Keys> {
    postgres.script(TABLES)?;
    let codec = Codec::new(SecretKey::new(content::SECRET));
    let mut all = Keys { django: Vec::new(), tower: Vec::new() };
    for start in (0..rows).step_by(10_000) {
        let users = start..rows.min(start + 10_000);
        let keys: Vec<String> = users.clone().map(|_| SessionKey::generate().as_str().to_owned()).collect();
        let texts = users.clone().map(|user| signed(&codec, user)).collect::<Result<Vec<_>>>()?;
        let plain = users.clone().map(plain).collect::<Result<Vec<_>>>()?;
        let (ids, records): (Vec<_>, Vec<_>) =
            users.map(tower_record).collect::<Result<Vec<_>>>()?.into_iter().unzip();
        for (table, keys, values, value) in [
            (&DJANGO, &keys, &texts, "value"),
            (&FLOOR, &keys, &plain, "value"),
            (&TOWER, &ids, &records, "decode(value, 'base64')"),
        ] {
            let sql = format!(
                "INSERT INTO {} SELECT key, {value}, '{FOREVER}' \
                 FROM unnest($1::text[], $2::text[]) AS new(key, value)",
                table.name
            );
            postgres.execute(&sql, &[keys, values])?;
        }
        all.django.extend(keys);
        all.tower.extend(ids);
    }
    for table in [DJANGO, FLOOR, TOWER] {
        postgres.script(&format!("CREATE UNLOGGED TABLE {} AS TABLE {}", table.copy(), table.name))?;
        // On its own: it takes no transaction around it.
        postgres.script(&format!("VACUUM ANALYZE {}", table.name))?;
    }
    postgres.script("CHECKPOINT")?;
    Ok(all)
}

/// Makes Django's table and the floor's anew, with so many sessions in each, and gives the keys of some.
pub fn fill_greatly(postgres: &Postgres, rows: usize) -> Result<Vec<String>> {
    begin_anew(postgres, &["django_session", "floor_session"])?;
    let codec = Codec::new(SecretKey::new(content::SECRET));
    let texts: Result<Vec<String>> = (0..SOME).map(|user| signed(&codec, user)).collect();
    let plain: Result<Vec<String>> = (0..SOME).map(plain).collect();
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
    [DJANGO, FLOOR, TOWER].iter().try_for_each(|table| table.tidy(postgres))
}

/// Makes a contender's table as it was at the start: rows that a turn has updated too.
pub fn restore(postgres: &Postgres, contender: &Contender) -> Result<()> {
    if contender.keeps != Keeps::Postgres {
        return Ok(());
    }
    let table = table_of(contender);
    table.tidy(postgres)?;
    let Table { name, key, .. } = table;
    postgres.script(&format!(
        "INSERT INTO {name} SELECT * FROM {} AS old \
         WHERE NOT EXISTS (SELECT FROM {name} AS new WHERE new.{key} = old.{key})",
        table.copy()
    ))?;
    // Otherwise autovacuum counts these rows, and may come during the turn.
    postgres.script(&format!("VACUUM ANALYZE {name}"))
}

/// The statement that locks a session's row until the end of the transaction.
pub fn lock(contender: &Contender, key: &str) -> String {
    let table = table_of(contender);
    format!("SELECT FROM {} WHERE {} = '{key}' FOR UPDATE", table.name, table.key)
}

fn table_of(contender: &Contender) -> Table {
    match contender.name {
        "floor" => FLOOR,
        contender::TOWER | contender::AXUM_LOGIN => TOWER,
        _ => DJANGO,
    }
}

impl Table {
    /// Where the rows of the start are kept.
    fn copy(&self) -> String {
        format!("copy_of_{}", self.name.replace('.', "_"))
    }

    fn tidy(&self, postgres: &Postgres) -> Result<()> {
        let Self { name, date, .. } = self;
        postgres.script(&format!("DELETE FROM {name} WHERE {date} <> '{FOREVER}'"))?;
        postgres.script(&format!("VACUUM {name}"))
    }
}

/// As the floor has it: like `encode(…, 'base64')`, but in one line.
fn plain(user: usize) -> Result<String> {
    Ok(STANDARD.encode(login(user)?.to_json()))
}

/// As tower-sessions has it: the key, and the record in Base64.
fn tower_record(user: usize) -> Result<(String, String)> {
    let record = Record {
        id: Id::default(),
        data: serde_json::from_str(&login(user)?.to_json())?,
        expiry_date: OffsetDateTime::now_utc() + time::Duration::seconds(TWO_WEEKS),
    };
    Ok((record.id.to_string(), STANDARD.encode(rmp_serde::to_vec(&record)?)))
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
