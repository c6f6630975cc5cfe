//! Which table and columns users have: Django's `AUTH_USER_MODEL`.

use crate::Error;

/// The type of a user's primary key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserKey {
    /// `AutoField`, `BigAutoField` and other whole numbers.
    Integer,
    /// `UUIDField`: 32 hexadecimal digits in SQLite.
    Uuid,
    /// `CharField` and other texts.
    Text,
}

/// A field of Django's user classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)] // the names are Django's
pub enum UserField {
    Password,
    LastLogin,
    IsSuperuser,
    FirstName,
    LastName,
    Email,
    IsStaff,
    IsActive,
    DateJoined,
}

impl UserField {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Password, "password"),
        (Self::LastLogin, "last_login"),
        (Self::IsSuperuser, "is_superuser"),
        (Self::FirstName, "first_name"),
        (Self::LastName, "last_name"),
        (Self::Email, "email"),
        (Self::IsStaff, "is_staff"),
        (Self::IsActive, "is_active"),
        (Self::DateJoined, "date_joined"),
    ];
}

/// The table of users and its columns. Django's `AUTH_USER_MODEL`, which here says what the database has.
///
/// [`UserModel::default`] is `auth.User`, the table `auth_user`. For a site with a model of its own:
///
/// ```
/// use actix_django_session::auth::{UserField, UserKey, UserModel};
///
/// // class Member(AbstractUser), key and login field of its own, in the app "accounts"
/// let members = UserModel::new("accounts", "Member")
///     .key("uid", UserKey::Uuid)
///     .login_column("email")
///     .without(UserField::FirstName)
///     .extra("phone");
///
/// // class Device(AbstractBaseUser): no permissions, neither is_active nor is_staff
/// let devices = UserModel::bare("fleet", "Device", "serial").table("devices");
/// ```
#[derive(Clone, Debug)]
pub struct UserModel {
    pub(crate) schema: Option<String>,
    pub(crate) table: String,
    pub(crate) key: (String, UserKey),
    pub(crate) login: String,
    /// By [`UserField::ALL`]; `None` if the table has no such column.
    columns: [Option<String>; UserField::ALL.len()],
    pub(crate) extra: Vec<String>,
    /// The class name in lower case, which names a column of the link tables.
    pub(crate) class: String,
    pub(crate) has_permissions: bool,
}

impl Default for UserModel {
    fn default() -> Self {
        Self::new("auth", "User")
    }
}

impl UserModel {
    /// A model with the fields of `AbstractUser`: app label and class name, as in `AUTH_USER_MODEL`.
    pub fn new(app: &str, class: &str) -> Self {
        let class = class.to_lowercase();
        Self {
            schema: None,
            table: format!("{app}_{class}"),
            key: ("id".to_owned(), UserKey::Integer),
            login: "username".to_owned(),
            columns: UserField::ALL.map(|(_, name)| Some(name.to_owned())),
            extra: Vec::new(),
            class,
            has_permissions: true,
        }
    }

    /// A model with the fields of `AbstractBaseUser` alone: the key, `password`, `last_login`, and a login
    /// field. Such users are active, no staff, and have no permissions.
    pub fn bare(app: &str, class: &str, login_column: &str) -> Self {
        let mut model = Self::new(app, class).login_column(login_column).without_permissions();
        for (field, _) in &UserField::ALL[2..] {
            model = model.without(*field);
        }
        model
    }

    /// `db_table` of the model. Its link tables are this name with `_groups` and `_user_permissions`.
    #[must_use]
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.table = name.into();
        self
    }

    /// The schema of the table and of the tables of permissions. Default: what the `search_path` finds.
    /// SQLite has none.
    #[must_use]
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = Some(name.into());
        self
    }

    /// The column of the primary key, and its type. Default: `id`, an integer.
    #[must_use]
    pub fn key(mut self, column: impl Into<String>, key: UserKey) -> Self {
        self.key = (column.into(), key);
        self
    }

    /// The column by which users log in: `USERNAME_FIELD`. Default: `username`.
    #[must_use]
    pub fn login_column(mut self, column: impl Into<String>) -> Self {
        self.login = column.into();
        self
    }

    /// Another column for a field: `db_column`.
    #[must_use]
    pub fn column(mut self, field: UserField, column: impl Into<String>) -> Self {
        *self.slot(field) = Some(column.into());
        self
    }

    /// A field that the table does not have. Without `is_active` all users are active, without `is_staff` or
    /// `is_superuser` nobody is. The password cannot be left out.
    #[must_use]
    pub fn without(mut self, field: UserField) -> Self {
        if field != UserField::Password {
            *self.slot(field) = None;
        }
        self
    }

    /// A model without `PermissionsMixin`: it has no link tables, and nobody has permissions.
    #[must_use]
    pub fn without_permissions(mut self) -> Self {
        self.has_permissions = false;
        self.without(UserField::IsSuperuser)
    }

    /// A further column, for [`User::extra`](super::User::extra).
    #[must_use]
    pub fn extra(mut self, column: impl Into<String>) -> Self {
        self.extra.push(column.into());
        self
    }

    fn slot(&mut self, field: UserField) -> &mut Option<String> {
        &mut self.columns[field as usize]
    }

    pub(crate) fn column_of(&self, field: UserField) -> Option<&str> {
        self.columns[field as usize].as_deref()
    }

    /// The columns of the fields that the table has.
    #[cfg(feature = "cli")]
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().flatten().map(String::as_str)
    }

    /// Refuses names that no database can have.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let names = [Some(&self.table), self.schema.as_ref(), Some(&self.key.0), Some(&self.login)];
        let names = names.into_iter().flatten().chain(self.columns.iter().flatten()).chain(&self.extra);
        for name in names {
            if name.is_empty() || name.len() > 63 || name.contains('\0') {
                return Err(Error::configuration(format!(
                    "{name:?} cannot name a table or column of users: PostgreSQL takes 1 to 63 bytes and no NUL"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_indexed_by_their_order() {
        for (at, (field, name)) in UserField::ALL.into_iter().enumerate() {
            assert_eq!(field as usize, at);
            assert_eq!(UserModel::default().column_of(field), Some(name));
        }
    }

    #[test]
    fn a_bare_model_has_few_columns() {
        let model = UserModel::bare("fleet", "Device", "serial");
        assert_eq!((model.table.as_str(), model.login.as_str()), ("fleet_device", "serial"));
        assert_eq!(model.columns.iter().flatten().count(), 2);
        assert!(UserModel::default().table("x".repeat(64)).check().is_err());
    }
}
