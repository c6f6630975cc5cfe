//! The tables of Django's `auth` and `contenttypes`, for applications without Django.

use super::{UserModel, Users};
use crate::{
    Error,
    backend::{Action, database::Dialect},
    metrics::Purpose,
};

/// Django's own statements, written by a script that runs it.
#[cfg(feature = "postgres")]
const POSTGRES: &str = include_str!("tables_postgres.sql");
#[cfg(feature = "sqlite")]
const SQLITE: &str = include_str!("tables_sqlite.sql");

impl Users {
    /// Creates Django's tables of users, groups, permissions and content types, if there is no `auth_user`
    /// yet.
    ///
    /// A Django site that comes later takes them by `manage.py migrate --fake contenttypes` and
    /// `manage.py migrate --fake auth`, before its first `manage.py migrate`. `--fake-initial` does not serve:
    /// later migrations rebuild SQLite's table in a form that refuses users who have never logged in.
    ///
    /// Errors for another model than `auth.User`: its tables are made by Django, or by hand.
    pub async fn create_tables(&self) -> Result<(), Error> {
        let (model, default) = (self.model(), UserModel::default());
        if model.table != default.table || model.schema.is_some() || model.key != default.key {
            return Err(Error::configuration(format!(
                "create_tables makes the tables of auth.User: make {} by Django's migrate, or by hand",
                model.table
            )));
        }
        let sql = match self.database().dialect() {
            #[cfg(feature = "postgres")]
            // One at a time: constraints have no IF NOT EXISTS.
            Dialect::Postgres => format!(
                "DO $create$ BEGIN PERFORM pg_advisory_xact_lock(hashtext('auth_user')); \
                 IF to_regclass('auth_user') IS NULL THEN {POSTGRES} END IF; END $create$"
            ),
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => SQLITE.to_owned(),
        };
        self.database().script(Action::new("create the tables of users", Purpose::User), sql).await
    }
}
