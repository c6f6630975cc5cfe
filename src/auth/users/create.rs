//! New users, in rows that Django takes.

use std::{fmt, time::SystemTime};

use serde_json::{Map, Value, json};
use unicode_normalization::UnicodeNormalization as _;

use super::{User, UserField, UserKey, Users, sql::Sql};
use crate::{
    Error,
    backend::database::{Dialect, NotExecuted},
    datetime::naive_isoformat,
};

/// A user to be created by [`Auth::create_user`](super::super::Auth::create_user). Django's `create_user`.
///
/// ```
/// use actix_django_session::auth::NewUser;
///
/// let ada = NewUser::new("ada").email("ada@Example.com").full_name("Ada", "Lovelace");
/// let admin = NewUser::new("root").superuser();
/// let member = NewUser::new("bob@example.com").column("phone", "555-1234");
/// ```
#[derive(Clone)]
pub struct NewUser {
    username: String,
    columns: Map<String, Value>,
    fields: Vec<(UserField, Value)>,
    id: Option<String>,
}

impl NewUser {
    /// An active user with this login name, without any rights. The name is normalized (NFKC), as Django
    /// does.
    pub fn new(username: &str) -> Self {
        Self { username: username.nfkc().collect(), columns: Map::new(), fields: Vec::new(), id: None }
    }

    /// The same, with the name as it is: somebody else has said who this is.
    pub(crate) fn exactly(username: &str) -> Self {
        Self { username: username.to_owned(), columns: Map::new(), fields: Vec::new(), id: None }
    }

    /// The primary key, where the database does not draw it: text keys need one. UUIDs are drawn here.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The address. Its domain is stored in lower case, as Django does.
    #[must_use]
    pub fn email(self, email: &str) -> Self {
        self.field(UserField::Email, normalize_email(email).into())
    }

    /// First and last name.
    #[must_use]
    pub fn full_name(self, first: &str, last: &str) -> Self {
        self.field(UserField::FirstName, first.into()).field(UserField::LastName, last.into())
    }

    /// Lets the user into Django's admin.
    #[must_use]
    pub fn staff(self) -> Self {
        self.field(UserField::IsStaff, true.into())
    }

    /// Gives the user all permissions, and lets it into Django's admin. Django's `create_superuser`.
    #[must_use]
    pub fn superuser(self) -> Self {
        self.staff().field(UserField::IsSuperuser, true.into())
    }

    /// A user who may not log in yet.
    #[must_use]
    pub fn inactive(self) -> Self {
        self.field(UserField::IsActive, false.into())
    }

    /// A value for a further column, not for one of the model's fields. The column's type reads it: a text, a
    /// number, `true`, JSON.
    #[must_use]
    pub fn column(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.columns.insert(name.to_owned(), value.into());
        self
    }

    fn field(mut self, field: UserField, value: Value) -> Self {
        self.fields.retain(|(other, _)| *other != field);
        self.fields.push((field, value));
        self
    }
}

/// Shows no name, address or other value.
impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewUser(…)")
    }
}

impl Users {
    /// Stores a new user with this password column. Errors if the name is taken
    /// ([`Error::is_taken`](crate::Error::is_taken)).
    pub(crate) async fn create(&self, new: &NewUser, password: &str) -> Result<User, Error> {
        let (model, dialect) = (self.model(), self.database().dialect());
        if new.username.is_empty() {
            return Err(Error::value("a user needs a login name: it is empty"));
        }
        let defaults = [
            (UserField::Password, json!(password)),
            (UserField::IsSuperuser, json!(false)),
            (UserField::FirstName, json!("")),
            (UserField::LastName, json!("")),
            (UserField::Email, json!("")),
            (UserField::IsStaff, json!(false)),
            (UserField::IsActive, json!(true)),
            (UserField::DateJoined, time(dialect)),
        ];
        let mut row = Map::new();
        for (field, value) in defaults.into_iter().chain(new.fields.iter().cloned()) {
            if let Some(column) = model.column_of(field) {
                row.insert(column.to_owned(), value);
            }
        }
        // A form's fields must not become rights, or a password that is not hashed.
        let is_known =
            |name: &&String| row.contains_key(*name) || [&model.login, &model.key.0].contains(name);
        if let Some(name) = new.columns.keys().find(is_known) {
            return Err(Error::value(format!(
                "{name:?} is not a further column of the table of users: use the method of NewUser for it"
            )));
        }
        row.extend(new.columns.clone());
        // PostgreSQL has no such text, and Django's forms refuse it.
        let texts = row.values().filter_map(Value::as_str).chain([&*new.username]);
        if texts.into_iter().any(|text| text.contains('\0')) {
            return Err(Error::value("a new user has a value with a NUL character: refuse it in the form"));
        }
        // A login field may be one of the others, as an address.
        let is_address = [model.column_of(UserField::Email), Some("email")].contains(&Some(&*model.login));
        let name = if is_address { normalize_email(&new.username) } else { new.username.clone() };
        row.insert(model.login.clone(), json!(name));
        if let Some(id) = self.new_key(new)? {
            row.insert(model.key.0.clone(), json!(id));
        }
        let columns: Vec<&str> = row.keys().map(String::as_str).collect();
        let statement = Sql::insert(model, dialect, &columns);
        let json = Value::Object(row.clone()).to_string();
        let created = self.database().execute(&statement, &[Some(&json)]).await;
        let created = created.map_err(|failed| match failed {
            NotExecuted { taken: true, .. } => {
                Error::taken("the login name, or another unique value, is another user's already")
            }
            NotExecuted { refused: true, .. } => Error::value(
                "the table of users refuses a value of the new user: it is too long, of another type, or \
                 missing",
            ),
            failed => failed.error,
        })?;
        let key = created.rows.into_iter().flatten().flatten().next().unwrap_or_default();
        self.get(&key)
            .await?
            .ok_or_else(|| Error::store("cannot create a user: the row is not there afterwards"))
    }

    /// The key to insert; `None` if the database draws it.
    fn new_key(&self, new: &NewUser) -> Result<Option<String>, Error> {
        let key = self.model().key.1;
        let drawn = || match key {
            UserKey::Integer => None,
            // Version 4, as Python's uuid4.
            UserKey::Uuid => Some(format!(
                "{:032x}",
                (rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62)
            )),
            UserKey::Text => None,
        };
        let id = match &new.id {
            Some(id) => Some(key.of_text(id).ok_or_else(|| {
                Error::value(format!("the new user's key is not of the type {key:?} of its column"))
            })?),
            None if key == UserKey::Text => {
                return Err(Error::value("a user with a text key needs one: call NewUser::id"));
            }
            None => drawn(),
        };
        Ok(id.map(|id| self.key_param(&key.of_text(&id).unwrap_or(id)).into_owned()))
    }
}

/// Django's `normalize_email`.
fn normalize_email(email: &str) -> String {
    match email.trim().rsplit_once('@') {
        Some((name, domain)) => format!("{name}@{}", domain.to_lowercase()),
        None => email.to_owned(),
    }
}

fn time(dialect: Dialect) -> Value {
    let now = naive_isoformat(SystemTime::now(), ' ');
    match dialect {
        #[cfg(feature = "postgres")]
        Dialect::Postgres => json!(now + "+00"),
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => json!(now),
    }
}
