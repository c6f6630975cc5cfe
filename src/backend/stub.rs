//! Placeholders while the engines move in.
#![allow(missing_docs, clippy::unused_async, clippy::todo, unused_variables)]
use std::path::Path;
#[cfg(feature = "postgres")]
use std::time::Duration;

use super::{Backend, Cursor, Insert, Inserted, Page, Replace, Replaced, Row};
use crate::{Error, SessionKey};

macro_rules! stub {
    ($name:ident) => {
        #[derive(Clone, Debug)]
        pub struct $name(());
        impl $name {
            pub(crate) async fn ping(&self) -> Result<(), Error> {
                todo!()
            }
        }
        impl Backend for $name {
            async fn get(&self, key: &SessionKey) -> Result<Option<Row>, Error> {
                todo!()
            }
            async fn insert(&self, new: Insert<'_>) -> Result<Inserted, Error> {
                todo!()
            }
            async fn replace(&self, change: Replace<'_>) -> Result<Replaced, Error> {
                todo!()
            }
            async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
                todo!()
            }
            async fn list(&self, after: Option<Cursor>) -> Result<Page, Error> {
                todo!()
            }
        }
    };
}
#[cfg(feature = "sqlite")]
stub!(Sqlite);
stub!(Files);

#[cfg(feature = "sqlite")]
impl Sqlite {
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        todo!()
    }
    pub fn open_lazy(path: impl AsRef<Path>) -> Result<Self, Error> {
        todo!()
    }
}
impl Files {
    pub async fn open(directory: impl AsRef<Path>) -> Result<Self, Error> {
        todo!()
    }
    pub fn open_lazy(directory: impl AsRef<Path>) -> Result<Self, Error> {
        todo!()
    }
}
