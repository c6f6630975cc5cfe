//! A user: one row of the table of users.

use std::{fmt, sync::Arc, time::SystemTime};

use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use super::{Users, sql::Column};
use crate::{
    Error,
    auth::Permissions,
    backend::database::TextRow,
    datetime::{from_micros, fromisoformat},
};

/// A user: a row of Django's table of users, as `request.user` is one. Cheap to clone.
///
/// As a handler's argument it is the user who is logged in; a visitor who is not is sent to the login page,
/// or answered with a 401 where an API says so (see [`LoginRequired`](super::super::LoginRequired)).
///
/// ```
/// use actix_django_session::{Error, auth::User};
///
/// async fn view(user: User) -> Result<String, Error> {
///     let may_write = user.has_perm("blog.add_entry").await?;
///     Ok(format!("Hello {}, may you write? {may_write}", user.username()))
/// }
/// ```
#[derive(Clone)]
pub struct User(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    users: Users,
    row: Fields,
    /// The path of the backend that authenticated it.
    backend: Option<Arc<str>>,
    rights: Arc<Rights>,
}

/// Loaded once for all clones of a user.
#[derive(Default)]
struct Rights {
    permissions: OnceCell<Permissions>,
    groups: OnceCell<Vec<String>>,
}

#[derive(Clone)]
struct Fields {
    id: String,
    password: String,
    /// Before it was changed in this request.
    previous_password: Option<String>,
    username: String,
    last_login: Option<SystemTime>,
    date_joined: Option<SystemTime>,
    is_superuser: bool,
    is_staff: bool,
    is_active: bool,
    first_name: String,
    last_name: String,
    email: String,
    extra: Option<String>,
}

impl User {
    /// Reads a row of the select list.
    pub(super) fn read(users: &Users, mut row: TextRow) -> Result<Self, Error> {
        let mut take = |column: Column| row.get_mut(column as usize).and_then(Option::take);
        let missing = |what: &str| Error::store(format!("cannot load a user: its {what} is NULL"));
        let key = take(Column::Key).ok_or_else(|| missing("primary key"))?;
        let row = Fields {
            id: users.model().key.1.of_text(&key).ok_or_else(|| {
                Error::configuration(format!(
                    "the key of a user is not of the type {:?}: correct UserModel::key",
                    users.model().key.1
                ))
            })?,
            password: take(Column::Password).unwrap_or_default(),
            previous_password: None,
            username: take(Column::Login).unwrap_or_default(),
            last_login: take(Column::LastLogin).and_then(|text| time(&text)),
            date_joined: take(Column::DateJoined).and_then(|text| time(&text)),
            is_superuser: is_true(take(Column::IsSuperuser), false),
            is_staff: is_true(take(Column::IsStaff), false),
            is_active: is_true(
                take(Column::IsActive),
                users.model().column_of(super::UserField::IsActive).is_none(),
            ),
            first_name: take(Column::FirstName).unwrap_or_default(),
            last_name: take(Column::LastName).unwrap_or_default(),
            email: take(Column::Email).unwrap_or_default(),
            extra: take(Column::Extra),
        };
        Ok(Self::new(users.clone(), row, None))
    }

    fn new(users: Users, row: Fields, backend: Option<Arc<str>>) -> Self {
        Self(Arc::new(Inner { users, row, backend, rights: Arc::default() }))
    }

    /// The same user, authenticated by a backend.
    pub(crate) fn with_backend(mut self, path: &str) -> Self {
        // A user that was just loaded has no clones, so that nothing is copied.
        Arc::make_mut(&mut self.0).backend = Some(path.into());
        self
    }

    pub(crate) fn with_password(&self, column: String) -> Self {
        let row = self.0.row.clone();
        let previous = row.previous_password.unwrap_or(row.password);
        let row = Fields { password: column, previous_password: Some(previous), ..self.0.row.clone() };
        Self::new(self.0.users.clone(), row, self.0.backend.clone())
    }
}

/// # Columns
impl User {
    /// Whether it is a row of this table.
    pub(crate) fn is_of(&self, users: &Users) -> bool {
        let (own, other) = (self.0.users.model(), users.model());
        (&own.table, &own.schema) == (&other.table, &other.schema)
    }

    /// The primary key as text: as the session holds it under `_auth_user_id`.
    pub fn id(&self) -> &str {
        &self.0.row.id
    }

    /// The name by which the user logs in (`get_username`): the login column of the [`UserModel`].
    ///
    /// [`UserModel`]: super::UserModel
    pub fn username(&self) -> &str {
        &self.0.row.username
    }

    /// `first_name`, or nothing if the table has no such column.
    pub fn first_name(&self) -> &str {
        &self.0.row.first_name
    }

    /// `last_name`, or nothing if the table has no such column.
    pub fn last_name(&self) -> &str {
        &self.0.row.last_name
    }

    /// First and last name with a blank between them. Django's `get_full_name`.
    pub fn full_name(&self) -> String {
        format!("{} {}", self.first_name(), self.last_name()).trim().to_owned()
    }

    /// `email`, or nothing if the table has no such column.
    pub fn email(&self) -> &str {
        &self.0.row.email
    }

    /// Whether the user may log in.
    pub fn is_active(&self) -> bool {
        self.0.row.is_active
    }

    /// Whether the user may enter Django's admin. Has no influence on permissions.
    pub fn is_staff(&self) -> bool {
        self.0.row.is_staff
    }

    /// Whether the user has all permissions, also those that do not exist.
    pub fn is_superuser(&self) -> bool {
        self.0.row.is_superuser
    }

    /// The time of the last login before this request.
    pub fn last_login(&self) -> Option<SystemTime> {
        self.0.row.last_login
    }

    /// `date_joined`, if the table has such a column.
    pub fn date_joined(&self) -> Option<SystemTime> {
        self.0.row.date_joined
    }

    /// Reads the further columns, those of [`UserModel::extra`](super::UserModel::extra), as a struct of the
    /// application's. Errors if they do not fit.
    ///
    /// ```
    /// use actix_django_session::{Error, auth::User};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Member {
    ///     phone: Option<String>,
    ///     company_id: i64,
    /// }
    ///
    /// async fn view(user: User) -> Result<String, Error> {
    ///     let member: Member = user.extra()?;
    ///     Ok(member.phone.unwrap_or_default())
    /// }
    /// ```
    pub fn extra<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let json = self.0.row.extra.as_deref().unwrap_or("{}");
        serde_json::from_str(json).map_err(|error| {
            let column = error.column();
            Error::value(format!(
                "the further columns of a user do not fit the struct (at character {column} of their JSON): is \
                 each field named by UserModel::extra, and of the column's type?"
            ))
        })
    }

    /// Whether a password is set that can be right. Django's `has_usable_password`.
    pub fn has_usable_password(&self) -> bool {
        !self.0.row.password.starts_with('!')
    }

    pub(crate) fn password_column(&self) -> &str {
        &self.0.row.password
    }

    /// The column before this process changed it, if it did.
    pub(crate) fn previous_password_column(&self) -> Option<&str> {
        self.0.row.previous_password.as_deref()
    }

    /// The path of the backend by which the user was authenticated; `None` for a user found by other means.
    pub fn backend(&self) -> Option<&str> {
        self.0.backend.as_deref()
    }
}

/// # Permissions
impl User {
    /// Whether the user has this permission: `app_label.codename`. Django's `has_perm`.
    ///
    /// An active superuser has every permission, also one that does not exist; an inactive user has none. The
    /// permissions are loaded once in a request, by one query.
    pub async fn has_perm(&self, permission: &str) -> Result<bool, Error> {
        Ok(self.is_active() && (self.is_superuser() || self.permissions().await?.all().contains(permission)))
    }

    /// Whether the user has all of these permissions. Django's `has_perms`: yes if there are none.
    pub async fn has_perms<S: AsRef<str>>(
        &self,
        permissions: impl IntoIterator<Item = S>,
    ) -> Result<bool, Error> {
        for permission in permissions {
            if !self.has_perm(permission.as_ref()).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the user has any permission of this app. Django's `has_module_perms`.
    pub async fn has_module_perms(&self, app_label: &str) -> Result<bool, Error> {
        Ok(self.is_active() && (self.is_superuser() || self.permissions().await?.has_module(app_label)))
    }

    /// Returns the user's permissions, loaded once in a request. Django's `get_all_permissions`,
    /// `get_user_permissions` and `get_group_permissions`.
    pub async fn permissions(&self) -> Result<&Permissions, Error> {
        self.0
            .rights
            .permissions
            .get_or_try_init(|| async {
                match self.is_active() {
                    true => self.0.users.permissions_of(self).await,
                    false => Ok(Permissions::default()),
                }
            })
            .await
    }

    /// Returns the names of the user's groups, loaded once in a request.
    pub async fn groups(&self) -> Result<&[String], Error> {
        let groups = self.0.rights.groups.get_or_try_init(|| self.0.users.groups_of(self));
        Ok(groups.await?)
    }
}

/// The same row of the same table.
impl PartialEq for User {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id() && self.is_of(&other.0.users)
    }
}

impl Eq for User {}

/// Shows no name, address or password.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User({})", self.id())
    }
}

/// PostgreSQL's microseconds, or SQLite's text.
fn time(text: &str) -> Option<SystemTime> {
    match text.parse() {
        Ok(micros) => Some(from_micros(micros)),
        Err(_) => fromisoformat(text).map(|date| date.time),
    }
}

fn is_true(column: Option<String>, default: bool) -> bool {
    column.map_or(default, |text| matches!(&*text, "true" | "t" | "1"))
}
