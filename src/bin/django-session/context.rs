//! Where the sessions are, and the secrets that sign them.

use std::time::Duration;

use actix_django_session::{
    SecretKey, Store,
    backend::Postgres,
    codec::{Codec, Serializer},
};

use crate::{
    args::ContextArgs,
    database::Database,
    error::{CliError, Result},
    output::{error, info, printable, shortened},
    reader::{AnySerializer, TextReader},
};

/// The note where sessions are read without a secret key.
pub(crate) const UNCHECKED: &str = "signature not checked: no SECRET_KEY given";

/// The context of all commands.
pub(crate) struct Context {
    url: Option<String>,
    /// The secret key and its fallbacks; empty if none was given.
    secrets: Vec<Vec<u8>>,
    salt_class: Option<String>,
    pub(crate) deadline: Duration,
    full_keys: bool,
}

impl Context {
    pub(crate) fn new(args: &ContextArgs) -> Result<Self> {
        let secret = match (&args.secret_key, &args.secret_key_file) {
            (Some(secret), _) => Some(secret.clone().into_bytes()),
            (None, Some(path)) => {
                let mut secret = std::fs::read(path).map_err(CliError::cannot_read(path.display()))?;
                if secret.last() == Some(&b'\n') {
                    secret.pop();
                }
                Some(secret)
            }
            (None, None) => variable("SECRET_KEY").map(String::into_bytes),
        };
        if secret.as_ref().is_some_and(Vec::is_empty) {
            return Err(CliError::new("the secret key is empty: give Django's SECRET_KEY"));
        }
        let mut fallbacks = args.fallbacks.clone();
        if fallbacks.is_empty() {
            let listed = variable("SECRET_KEY_FALLBACKS").unwrap_or_default();
            fallbacks = listed.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect();
        }
        if fallbacks.iter().any(String::is_empty) {
            return Err(CliError::new("a fallback key is empty: leave it out"));
        }
        let mut secrets: Vec<Vec<u8>> = secret.into_iter().collect();
        if !secrets.is_empty() {
            secrets.extend(fallbacks.into_iter().map(String::into_bytes));
        }
        let url = args.database_url.clone().or_else(|| variable("DATABASE_URL"));
        let url = url.map(|url| url.trim().to_owned());
        let (salt_class, deadline, full_keys) = (args.salt_class.clone(), args.deadline, args.full_keys);
        Ok(Self { url, secrets, salt_class, deadline, full_keys })
    }

    /// The URL, with `--deadline` if it has none.
    fn url(&self) -> Result<String> {
        let url = self.url.as_deref().ok_or_else(|| {
            CliError::new("where are the sessions? Give --database-url or the variable DATABASE_URL")
        })?;
        let Some(database) = postgres_part(url) else { return Ok(url.to_owned()) };
        let deadline = format!("deadline={}", self.deadline.as_secs_f64());
        Ok(match database.split_once('?') {
            None => format!("{url}?{deadline}"),
            Some((_, query)) if query.split('&').any(|part| part.starts_with("deadline=")) => url.to_owned(),
            Some(_) => format!("{url}&{deadline}"),
        })
    }

    fn has_scheme(&self, schemes: &[&str]) -> bool {
        let url = self.url.as_deref().unwrap_or_default();
        schemes.iter().any(|scheme| url.starts_with(scheme))
    }

    pub(crate) fn has_table(&self) -> Result<bool> {
        let url = self.url()?;
        Ok(self.has_scheme(&["sqlite:"]) || (!self.has_cache() && postgres_part(&url).is_some()))
    }

    /// Whether a cache in front of the database has copies.
    pub(crate) fn has_cache(&self) -> bool {
        self.has_scheme(&["cached:"])
    }

    /// Whether stored sessions are signed text. Those in a cache are not.
    pub(crate) fn is_signed(&self) -> bool {
        !self.has_scheme(&["redis"])
    }

    pub(crate) fn has_secret(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// Whether signatures were checked; `None` where there are none.
    pub(crate) fn signature_checked(&self) -> Option<bool> {
        self.is_signed().then_some(self.has_secret())
    }

    /// Says so where sessions are read without checking their signatures.
    pub(crate) fn note_unchecked_signatures(&self) {
        if self.signature_checked() == Some(false) {
            error(UNCHECKED);
        }
    }

    /// The secret key with its fallbacks, if it was given.
    pub(crate) fn secret_key(&self) -> Option<SecretKey> {
        let (secret, fallbacks) = self.secrets.split_first()?;
        Some(SecretKey::new(secret.clone()).with_fallbacks(fallbacks.iter().cloned()))
    }

    /// Signs as the site does.
    pub(crate) fn codec(&self, serializer: impl Serializer) -> Result<Codec> {
        let key = self.secret_key().ok_or_else(|| {
            CliError::new(
                "Django's SECRET_KEY is needed: give --secret-key-file, --secret-key or the variable \
                 SECRET_KEY",
            )
        })?;
        Ok(self.salted(Codec::new(key)).read_legacy(true).serializer(serializer))
    }

    /// Tells which secret signed a text.
    pub(crate) fn reader(&self) -> TextReader {
        let codec = |secret: &Vec<u8>| self.salted(Codec::new(SecretKey::new(secret.clone())));
        TextReader::new(self.secrets.iter().map(codec).collect())
    }

    /// The store. It reads what any Django wrote, with signatures unchecked if there is no secret.
    pub(crate) async fn store(&self) -> Result<Store> {
        self.connect().await?.map_err(CliError::from)
    }

    /// The store, or the error of one that does not answer. Other errors are about the command line.
    pub(crate) async fn connect(&self) -> Result<Result<Store, actix_django_session::Error>> {
        let codec = match self.has_secret() {
            true => self.codec(AnySerializer::default())?,
            false => Codec::unverified(),
        };
        match Store::connect(&self.url()?, codec).await {
            Err(error) if !error.is_store() => Err(error.into()),
            result => Ok(result),
        }
    }

    /// A connection to the database itself, if the sessions are in PostgreSQL and no pooler is in between.
    ///
    /// To be called after [`store`](Self::store), which explains errors in a URL.
    pub(crate) async fn database(&self) -> Result<Option<Database>> {
        let url = self.url()?;
        let Some(url) = postgres_part(&url) else { return Ok(None) };
        let database = Database::connect(url, self.deadline).await?;
        if database.is_none() {
            info(
                "behind PgBouncer some details are left out: give the address of the database itself if you \
                 can",
            );
        }
        Ok(database)
    }

    /// A session key as it may be shown.
    pub(crate) fn key(&self, key: &str) -> String {
        if self.full_keys { printable(key) } else { shortened(key) }
    }

    fn salted(&self, codec: Codec) -> Codec {
        match &self.salt_class {
            Some(class) => codec.engine_class(class),
            None => codec,
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The URL of a PostgreSQL; of `cached:` URLs the database's.
fn postgres_part(url: &str) -> Option<&str> {
    let database = match url.strip_prefix("cached:") {
        Some(both) => both.split_whitespace().last().unwrap_or_default(),
        None => url,
    };
    let (scheme, _) = database.split_once("://")?;
    Postgres::has_scheme(scheme).then_some(database)
}
