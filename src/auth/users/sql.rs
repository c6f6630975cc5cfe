//! The statements on the tables of users, made once for a model.

use std::sync::Arc;

use super::{UserField, UserKey, UserModel};
use crate::{
    backend::{
        Action,
        database::{Dialect, Keyed, TextStatement},
    },
    metrics::Purpose,
};

pub(super) struct Sql {
    pub(super) by_key: Arc<Keyed>,
    pub(super) by_login: TextStatement,
    /// $1 key, $2 time.
    pub(super) set_last_login: Option<TextStatement>,
    /// $1 key, $2 new, $3 the present one, or NULL for any.
    pub(super) set_password: TextStatement,
    /// $1 key, $2 `yes` for all permissions, else `no`. Returns the kind (`u`, `g` or `a`) and the permission.
    pub(super) permissions: Option<TextStatement>,
    /// $1 key.
    pub(super) groups: Option<TextStatement>,
}

/// Columns of a row, in the order of the select list.
#[derive(Clone, Copy)]
pub(super) enum Column {
    Key,
    Password,
    Login,
    LastLogin,
    IsSuperuser,
    IsStaff,
    IsActive,
    FirstName,
    LastName,
    Email,
    DateJoined,
    Extra,
}

pub(super) fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

impl Sql {
    pub(super) fn new(model: &UserModel, dialect: Dialect) -> Self {
        let names = Names { model, dialect };
        let (table, columns) = (names.table(&model.table), names.select_list());
        let key = format!("u.{}", quote(&model.key.0));
        let select = format!("SELECT {columns} FROM {table} u WHERE");
        let update = |set: &str, and: &str| {
            let (column, value) = (quote(&model.key.0), names.key_value(1));
            format!("UPDATE {table} SET {set} WHERE {column} = {value}{and}{}", names.short_lock())
        };
        let set_last_login = model.column_of(UserField::LastLogin).map(|column| {
            let set = format!("{} = {}", quote(column), names.time(2));
            TextStatement::write(
                Action::new("note the time of a login", Purpose::User),
                update(&set, ""),
                true,
            )
        });
        let password = quote(model.column_of(UserField::Password).unwrap_or("password"));
        let present = names.param(3);
        let set = update(
            &format!("{password} = {}", names.param(2)),
            &format!(" AND (CAST({present} AS text) IS NULL OR {password} = {present})"),
        );
        Self {
            by_key: Arc::new(Keyed::new(
                format!("{select} {key} = {}", names.key_value(1)),
                format!("{select} {key} = ANY($1::{}[])", names.key_type()),
                model.key.1 == UserKey::Text,
            )),
            by_login: TextStatement::read(
                Action::new("look up a user", Purpose::User),
                format!("{select} u.{} = {} LIMIT 2", quote(&model.login), names.param(1)),
            ),
            set_last_login,
            set_password: TextStatement::write(Action::new("set a password", Purpose::User), set, true),
            permissions: model.has_permissions.then(|| {
                TextStatement::read(Action::new("load the permissions of a user", Purpose::User), names.permissions())
            }),
            groups: model.has_permissions.then(|| {
                let (group, link) = (names.table("auth_group"), names.table(&names.link("groups")));
                let sql = format!(
                    "SELECT g.name FROM {group} g JOIN {link} l ON l.group_id = g.id WHERE l.{} = {} ORDER BY 1",
                    names.link_column(),
                    names.key_value(1),
                );
                TextStatement::read(Action::new("load the groups of a user", Purpose::User), sql)
            }),
        }
    }

    /// Inserts a row with these columns, whose values are in one JSON object, and returns its key.
    pub(super) fn insert(model: &UserModel, dialect: Dialect, columns: &[&str]) -> TextStatement {
        let names = Names { model, dialect };
        let table = names.table(&model.table);
        let list = columns.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", ");
        let values = match dialect {
            // The columns' own types read the texts of the object.
            #[cfg(feature = "postgres")]
            Dialect::Postgres => {
                let short = crate::backend::short_lock_timeout();
                format!("SELECT {list} FROM json_populate_record(NULL::{table}, $1::json) WHERE {short}")
            }
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => {
                let value = |column: &&str| {
                    let path = format!("$.\"{}\"", column.replace('"', "\\\""));
                    format!("json_extract(?1, '{}')", path.replace('\'', "''"))
                };
                format!("SELECT {}", columns.iter().map(value).collect::<Vec<_>>().join(", "))
            }
        };
        let key = match dialect {
            #[cfg(feature = "postgres")]
            Dialect::Postgres => format!("{}::text", quote(&model.key.0)),
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => quote(&model.key.0),
        };
        let sql = format!("INSERT INTO {table} ({list}) {values} RETURNING {key}");
        TextStatement::write(Action::new("create a user", Purpose::User), sql, false)
    }
}

pub(super) struct Names<'a> {
    pub(super) model: &'a UserModel,
    pub(super) dialect: Dialect,
}

impl Names<'_> {
    pub(super) fn table(&self, name: &str) -> String {
        match (&self.model.schema, self.dialect) {
            #[cfg(feature = "postgres")]
            (Some(schema), Dialect::Postgres) => format!("{}.{}", quote(schema), quote(name)),
            _ => quote(name),
        }
    }

    pub(super) fn link(&self, what: &str) -> String {
        format!("{}_{what}", self.model.table)
    }

    /// The column of a link table that refers to the user. Django names it after the class.
    fn link_column(&self) -> String {
        quote(&format!("{}_id", self.model.class))
    }

    fn key_type(&self) -> &'static str {
        match self.model.key.1 {
            UserKey::Integer => "bigint",
            UserKey::Uuid => "uuid",
            UserKey::Text => "text",
        }
    }

    /// A parameter. SQLite numbers `$2` by its place, and `?2` by its number.
    fn param(&self, n: u8) -> String {
        match self.dialect {
            #[cfg(feature = "postgres")]
            Dialect::Postgres => format!("${n}"),
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => format!("?{n}"),
        }
    }

    /// The key in parameter `n`, as the column's type.
    pub(super) fn key_value(&self, n: u8) -> String {
        match (self.dialect, self.model.key.1) {
            #[cfg(feature = "postgres")]
            (Dialect::Postgres, _) => format!("${n}::{}", self.key_type()),
            #[cfg(feature = "sqlite")]
            (Dialect::Sqlite, UserKey::Integer) => format!("CAST(?{n} AS INTEGER)"),
            #[cfg(feature = "sqlite")]
            (Dialect::Sqlite, UserKey::Uuid | UserKey::Text) => format!("?{n}"),
        }
    }

    fn time(&self, n: u8) -> String {
        match self.dialect {
            #[cfg(feature = "postgres")]
            Dialect::Postgres => format!("(${n} || '+00')::timestamptz"),
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => format!("?{n}"),
        }
    }

    fn short_lock(&self) -> String {
        match self.dialect {
            #[cfg(feature = "postgres")]
            Dialect::Postgres => format!(" AND {}", crate::backend::short_lock_timeout()),
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => String::new(),
        }
    }

    /// Every column as text, but for PostgreSQL's times. A column is always qualified: SQLite takes an unknown name alone for a text.
    fn select_list(&self) -> String {
        let model = self.model;
        let of = |field| model.column_of(field).map(|column| format!("u.{}", quote(column)));
        let (null, cast, time) = match self.dialect {
            #[cfg(feature = "postgres")]
            Dialect::Postgres => ("NULL::text", "::text", true),
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => ("NULL", "", false),
        };
        let text = |field| of(field).map_or(null.to_owned(), |column| column + cast);
        let moment = |field| match of(field) {
            // PostgreSQL is slow to make a text of it: it comes as it is.
            Some(column) if time => format!("{column}::timestamptz"),
            Some(column) => column,
            None => null.to_owned(),
        };
        let extra = |column: &String| format!("'{}', u.{}", column.replace('\'', "''"), quote(column));
        let extra = match (model.extra.is_empty(), time) {
            (true, _) => null.to_owned(),
            (false, in_postgres) => {
                let members = model.extra.iter().map(extra).collect::<Vec<_>>().join(", ");
                let function = if in_postgres { "json_build_object" } else { "json_object" };
                format!("{function}({members}){cast}")
            }
        };
        [
            format!("u.{}{cast}", quote(&model.key.0)),
            text(UserField::Password),
            format!("u.{}{cast}", quote(&model.login)),
            moment(UserField::LastLogin),
            text(UserField::IsSuperuser),
            text(UserField::IsStaff),
            text(UserField::IsActive),
            text(UserField::FirstName),
            text(UserField::LastName),
            text(UserField::Email),
            moment(UserField::DateJoined),
            extra,
        ]
        .join(", ")
    }

    /// One query for both kinds: the user's own (`u`) and those of the groups (`g`). A superuser has all
    /// (`a`).
    fn permissions(&self) -> String {
        let permission = self.table("auth_permission");
        let content_type = self.table("django_content_type");
        let named = format!(
            "c.app_label || '.' || p.codename FROM {permission} p \
             JOIN {content_type} c ON c.id = p.content_type_id"
        );
        let (own, groups) = (self.table(&self.link("user_permissions")), self.table(&self.link("groups")));
        let (of_groups, user, key) =
            (self.table("auth_group_permissions"), self.link_column(), self.key_value(1));
        let all = self.param(2);
        format!(
            "SELECT 'u', {named} JOIN {own} l ON l.permission_id = p.id WHERE l.{user} = {key} AND {all} = 'no' \
             UNION SELECT 'g', {named} JOIN {of_groups} gp ON gp.permission_id = p.id \
             JOIN {groups} l ON l.group_id = gp.group_id WHERE l.{user} = {key} AND {all} = 'no' \
             UNION SELECT 'a', {named} WHERE {all} = 'yes'"
        )
    }
}
