//! The table of users, in PostgreSQL or SQLite.

mod create;
#[cfg(feature = "cli")]
mod inspect;
mod key;
mod model;
mod row;
mod sql;
mod tables;

use std::{borrow::Cow, fmt, sync::Arc, time::SystemTime};

pub(super) use self::key::is_python_space;
use self::sql::Sql;
pub use self::{
    create::NewUser,
    model::{UserField, UserKey, UserModel},
    row::User,
};
use super::Permissions;
#[cfg(feature = "postgres")]
use crate::backend::Postgres;
#[cfg(feature = "sqlite")]
use crate::backend::Sqlite;
use crate::{Error, Store, backend::database::Database, datetime::naive_isoformat, event_log::EventLog};

/// The users of a site: a table in PostgreSQL or SQLite, as Django has it. Cheap to clone.
///
/// ```
/// # #[cfg(feature = "postgres")] {
/// use actix_django_session::{auth::{UserModel, Users}, backend::Postgres};
///
/// let postgres = Postgres::connect_lazy("postgres://app@db.example/site")?;
/// let users = Users::postgres(&postgres); // auth_user
/// let members = users.with_model(UserModel::new("accounts", "Member"))?; // AUTH_USER_MODEL = "accounts.Member"
/// # }
/// # Ok::<(), actix_django_session::Error>(())
/// ```
#[derive(Clone)]
pub struct Users(Arc<Shared>);

struct Shared {
    database: Database,
    model: UserModel,
    sql: Sql,
}

impl Users {
    /// The users in the database of a store of sessions, over the store's connections. Errors if the store
    /// is not in PostgreSQL or SQLite: use [`Users::postgres`] or [`Users::sqlite`] then.
    pub fn of(store: &Store) -> Result<Self, Error> {
        let database = store.database().ok_or_else(|| {
            Error::configuration(
                "this store of sessions is not in PostgreSQL or SQLite: say where the users are by \
                 Users::postgres or Users::sqlite",
            )
        })?;
        Ok(Self::new(database, UserModel::default()))
    }

    /// The users in a PostgreSQL, over the connections of this backend.
    #[cfg(feature = "postgres")]
    pub fn postgres(postgres: &Postgres) -> Self {
        Self::new(Database::Postgres(postgres.clone()), UserModel::default())
    }

    /// The users in an SQLite file.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(sqlite: &Sqlite) -> Self {
        Self::new(Database::Sqlite(sqlite.clone()), UserModel::default())
    }

    fn new(database: Database, model: UserModel) -> Self {
        let sql = Sql::new(&model, database.dialect());
        Self(Arc::new(Shared { database, model, sql }))
    }

    /// The users of another model than `auth.User`. Errors if a name in it cannot be right.
    pub fn with_model(&self, model: UserModel) -> Result<Self, Error> {
        model.check()?;
        Ok(Self::new(self.0.database.clone(), model))
    }

    pub(crate) fn model(&self) -> &UserModel {
        &self.0.model
    }

    pub(crate) fn database(&self) -> &Database {
        &self.0.database
    }

    /// Returns the user with this primary key. `None` if there is none, or none can have such a key. An
    /// inactive user is returned too.
    ///
    /// Requests that arrive while a statement is in flight are answered by the next one together.
    pub async fn get(&self, id: &str) -> Result<Option<User>, Error> {
        match self.0.model.key.1.of_text(id) {
            Some(id) => self.get_by_key(id).await,
            None => Ok(None),
        }
    }

    /// `id` is in the form in which Django stores it.
    pub(crate) async fn get_by_key(&self, id: String) -> Result<Option<User>, Error> {
        let row = self.0.database.find(&self.0.sql.by_key, &self.key_param(&id)).await?;
        row.map(|row| User::read(self, row)).transpose()
    }

    /// Returns the user with this login name, compared exactly: letter case counts, blanks count.
    ///
    /// A site whose login column ignores letter case (`CITEXT`) looks up names in lower case.
    pub async fn get_by_username(&self, name: &str) -> Result<Option<User>, Error> {
        if name.contains('\0') {
            return Ok(None); // PostgreSQL has no such text
        }
        let found = self.0.database.execute(&self.0.sql.by_login, &[Some(name)]).await?;
        let mut rows = found.rows.into_iter();
        let row = rows.next();
        if rows.next().is_some() {
            EventLog::general().warn(
                "two users have the same login name, so neither can log in by it: make it unique".into(),
            );
            return Ok(None);
        }
        row.map(|row| User::read(self, row)).transpose()
    }

    pub(crate) async fn permissions_of(&self, user: &User) -> Result<Permissions, Error> {
        let Some(statement) = &self.0.sql.permissions else { return Ok(Permissions::default()) };
        let all = if user.is_superuser() { "yes" } else { "no" };
        let found =
            self.0.database.execute(statement, &[Some(&self.key_param(user.id())), Some(all)]).await?;
        let pair = |row: Vec<Option<String>>| {
            let mut columns = row.into_iter().flatten();
            Some((columns.next()?, columns.next()?))
        };
        Ok(Permissions::new(found.rows.into_iter().filter_map(pair)))
    }

    pub(crate) async fn groups_of(&self, user: &User) -> Result<Vec<String>, Error> {
        let Some(statement) = &self.0.sql.groups else { return Ok(Vec::new()) };
        let found = self.0.database.execute(statement, &[Some(&self.key_param(user.id()))]).await?;
        Ok(found.rows.into_iter().flatten().flatten().collect())
    }

    /// Sets `last_login`, if the table has it.
    pub(crate) async fn note_login(&self, user: &User) -> Result<(), Error> {
        let Some(statement) = &self.0.sql.set_last_login else { return Ok(()) };
        let now = naive_isoformat(SystemTime::now(), ' ');
        self.0.database.execute(statement, &[Some(&self.key_param(user.id())), Some(&now)]).await?;
        Ok(())
    }

    /// Stores a password column. With `expected`, only if the column still has this text: another password
    /// may have been set meanwhile. Returns whether it was stored.
    pub(crate) async fn set_password(
        &self,
        user: &User,
        column: &str,
        expected: Option<&str>,
    ) -> Result<bool, Error> {
        let params = [Some(&*self.key_param(user.id())), Some(column), expected];
        Ok(self.0.database.execute(&self.0.sql.set_password, &params).await?.affected > 0)
    }

    /// The key as a parameter: SQLite has UUIDs as 32 digits.
    fn key_param<'a>(&self, id: &'a str) -> Cow<'a, str> {
        match (&self.0.database, self.0.model.key.1) {
            #[cfg(feature = "sqlite")]
            (Database::Sqlite(_), UserKey::Uuid) => id.replace('-', "").into(),
            _ => id.into(),
        }
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.0.model.table)
    }
}
