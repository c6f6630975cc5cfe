//! `SESSION_ENGINE = "django.contrib.sessions.backends.file"`

use std::fs;

use actix_django_session::{SecretKey, Store, backend::Files as Engine, codec::Codec};
use futures_util::future::LocalBoxFuture;

use super::{Backing, Row, Users, ends};
use crate::{pair::SECRET, support::proc::TempDir};

#[derive(Debug)]
pub(crate) struct Files {
    dir: TempDir,
    users: Users,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new("files"), users: Users::new() }
    }
}

impl Backing for Files {
    fn database_url(&self) -> String {
        self.users.url()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("SESSION_ENGINE", "django.contrib.sessions.backends.file".to_owned()),
            ("SESSION_FILE_PATH", self.dir.path().display().to_string()),
        ]
    }

    fn store(&self, secret: SecretKey) -> LocalBoxFuture<'_, Store> {
        Box::pin(async move { Store::new(Engine::open(self.dir.path()).await.unwrap(), secret) })
    }

    /// Django removes it, and stores an empty one under a new key.
    fn keeps_expired(&self, site: &str) -> bool {
        site != "Django"
    }

    fn rows(&self) -> Vec<Row> {
        let codec = Codec::new(SecretKey::new(SECRET));
        let mut rows = Vec::new();
        for entry in fs::read_dir(self.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let Some(key) = path.file_name().and_then(|name| name.to_str()?.strip_prefix("sessionid")) else {
                continue;
            };
            // Others are written beside their place first; and any may go while this looks at it.
            let plain = key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            let (true, Ok(stored), Ok(meta)) = (plain, fs::read(&path), path.metadata()) else { continue };
            let text = str::from_utf8(&stored).unwrap();
            let expires = ends(&codec, text, meta.modified().unwrap());
            rows.push(Row { key: key.to_owned(), stored, expires });
        }
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows
    }
}
