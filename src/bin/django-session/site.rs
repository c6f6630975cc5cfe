//! The site that is looked after: where its sessions are, and the secrets that open them.

use std::time::Duration;

use actix_django_session::{
    SecretKey, SessionKey,
    codec::{Codec, Serializer},
    store::{self, AnyStore},
};

use crate::{
    args::SiteArgs,
    database::Database,
    exit::Failure,
    output::tell,
    reader::{Either, Reader},
};

#[derive(Clone)]
pub(crate) struct Site {
    url: Option<String>,
    /// The secret key and its fallbacks; empty if none was given.
    secrets: Vec<Vec<u8>>,
    salt_class: Option<String>,
    pub(crate) deadline: Duration,
}

impl Site {
    pub(crate) fn new(args: &SiteArgs) -> Result<Self, Failure> {
        let url = args.database_url.clone().or_else(|| variable("DATABASE_URL"));
        let secret = match (&args.secret_key, &args.secret_key_file) {
            (Some(secret), _) => Some(secret.clone().into_bytes()),
            (None, Some(path)) => {
                let mut secret = std::fs::read(path)
                    .map_err(|error| Failure::text(format!("cannot read {}: {error}", path.display())))?;
                if secret.last() == Some(&b'\n') {
                    secret.pop();
                }
                Some(secret)
            }
            (None, None) => variable("SECRET_KEY").map(String::into_bytes),
        };
        if secret.as_ref().is_some_and(Vec::is_empty) {
            return Err(Failure::text("the secret key is empty: give Django's SECRET_KEY"));
        }
        let fallbacks = match args.fallbacks.is_empty() {
            false => args.fallbacks.clone(),
            true => {
                let listed = variable("SECRET_KEY_FALLBACKS").unwrap_or_default();
                listed.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect()
            }
        };
        if fallbacks.iter().any(String::is_empty) {
            return Err(Failure::text("a fallback key is empty: leave it out"));
        }
        let mut secrets: Vec<Vec<u8>> = secret.into_iter().collect();
        if !secrets.is_empty() {
            secrets.extend(fallbacks.into_iter().map(String::into_bytes));
        }
        Ok(Self { url, secrets, salt_class: args.salt_class.clone(), deadline: args.deadline })
    }

    /// Where the sessions are, with our deadline if the URL has none.
    pub(crate) fn url(&self) -> Result<String, Failure> {
        let url = self.url.as_deref().map(str::trim).ok_or_else(|| {
            Failure::text("where are the sessions? Give --database-url or the variable DATABASE_URL")
        })?;
        let database = postgres_part(url);
        if database.is_none_or(|database| parameter(database, "deadline").is_some()) {
            return Ok(url.to_owned());
        }
        let separator = if database.is_some_and(|database| database.contains('?')) { '&' } else { '?' };
        Ok(format!("{url}{separator}deadline={}", self.deadline.as_secs_f64()))
    }

    pub(crate) fn has_secret(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// The same site as often as it has secrets, each time with one of them.
    pub(crate) fn one_secret_each(&self) -> Vec<Self> {
        let with = |secret: &Vec<u8>| Self { secrets: vec![secret.clone()], ..self.clone() };
        self.secrets.iter().map(with).collect()
    }

    /// Whether stored sessions are texts that a secret has signed. In a cache they are not.
    pub(crate) fn is_signed(&self) -> bool {
        let url = self.url.as_deref().unwrap_or_default().trim();
        url.starts_with("sqlite:") || url.starts_with("file:")
    }

    fn secrets(&self) -> Result<&[Vec<u8>], Failure> {
        match self.secrets.is_empty() {
            false => Ok(&self.secrets),
            true => Err(Failure::text(
                "Django's SECRET_KEY is needed: give --secret-key-file, --secret-key or the variable SECRET_KEY",
            )),
        }
    }

    /// Signs as the site does, and reads what it may have written at any time.
    pub(crate) fn codec(&self, serializer: impl Serializer) -> Result<Codec, Failure> {
        let (secret, fallbacks) = self.secrets()?.split_first().unwrap_or((const { &Vec::new() }, &[]));
        let key = SecretKey::new(secret.clone()).with_fallbacks(fallbacks.iter().cloned());
        Ok(self.salted(Codec::new(key)).read_legacy(true).serializer(serializer))
    }

    /// Tells which secret opens a text.
    pub(crate) fn reader(&self) -> Result<Reader, Failure> {
        let codecs =
            self.secrets()?.iter().map(|secret| self.salted(Codec::new(SecretKey::new(secret.clone()))));
        Ok(Reader::new(codecs.collect()))
    }

    /// The store, to be read.
    pub(crate) async fn store(&self) -> Result<AnyStore, Failure> {
        let codec = self.codec(Either::default())?;
        Ok(store::open(&self.url()?, codec).await?)
    }

    /// The store, where nothing is decoded.
    pub(crate) async fn store_without_secret(&self) -> Result<AnyStore, Failure> {
        self.open_to_look().await?.map_err(Failure::Text)
    }

    /// As [`store_without_secret`](Self::store_without_secret), where a store that does not answer is a finding.
    pub(crate) async fn open_to_look(&self) -> Result<Result<AnyStore, String>, Failure> {
        let codec = match self.has_secret() {
            true => self.codec(Either::default())?,
            false => SecretKey::new(SessionKey::generate().as_str()).into(),
        };
        match store::open(&self.url()?, codec).await {
            Ok(store) => Ok(Ok(store)),
            Err(error) if error.is_store() => Ok(Err(error.with_causes())),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether sessions say themselves when they end, so that nobody without the secret knows.
    pub(crate) fn needs_secret_to_clear(&self) -> Result<bool, Failure> {
        Ok(self.url()?.starts_with("file:") && !self.has_secret())
    }

    /// A connection of our own, if the sessions are in PostgreSQL; of `cached:`, to the database.
    ///
    /// To be called after the store was opened, which explains what can be wrong with a URL.
    pub(crate) async fn database(&self) -> Result<Option<Database>, Failure> {
        let url = self.url()?;
        match postgres_part(&url) {
            // A setting made on a pooler's connection would be left to whoever comes next.
            Some(database) if parameter(database, "pgbouncer").as_deref() == Some("true") => {
                tell("behind a pooler this can do less: give it the database's own address if there is one");
                Ok(None)
            }
            Some(database) => Database::connect(database, self.deadline).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether what is in PostgreSQL is all that there is.
    pub(crate) fn has_cache(&self) -> bool {
        self.url.as_ref().is_some_and(|url| url.trim().starts_with("cached:"))
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

fn postgres_part(url: &str) -> Option<&str> {
    let database = match url.strip_prefix("cached:") {
        Some(both) => both.split_whitespace().last().unwrap_or_default(),
        None => url,
    };
    (database.starts_with("postgres://") || database.starts_with("postgresql://")).then_some(database)
}

/// What the URL says behind its question mark.
pub(crate) fn parameter(url: &str, name: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
}
