//! The statements by which the operator's tool looks at the tables of users.

use super::{
    UserField, Users,
    sql::{Names, quote},
};
use crate::{
    backend::{
        Action,
        database::{Dialect, TextStatement},
    },
    metrics::Purpose,
};

pub(crate) struct Inspection<'a>(Names<'a>);

impl Users {
    pub(crate) fn inspection(&self) -> Inspection<'_> {
        Inspection(Names { model: self.model(), dialect: self.database().dialect() })
    }
}

impl Inspection<'_> {
    /// That of users first.
    pub(crate) fn tables(&self) -> Vec<String> {
        let names = &self.0;
        let mut tables = vec![names.model.table.clone()];
        if names.model.has_permissions {
            tables.extend(["groups", "user_permissions"].map(|what| names.link(what)));
            let shared = ["auth_group", "auth_permission", "auth_group_permissions", "django_content_type"];
            tables.extend(shared.map(str::to_owned));
        }
        tables.iter().map(|table| names.table(table)).collect()
    }

    /// Returns a value if the table exists.
    pub(crate) fn exists(&self, table: &str) -> TextStatement {
        let name = table.replace('\'', "''");
        let sql = match self.0.dialect {
            #[cfg(feature = "postgres")]
            Dialect::Postgres => format!("SELECT to_regclass('{name}')::text"),
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => format!(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') \
                 AND '\"' || replace(name, '\"', '\"\"') || '\"' = '{name}' COLLATE NOCASE"
            ),
        };
        TextStatement::read(Action::new("look for the tables of users", Purpose::User), sql)
    }

    /// Returns the rights that the role lacks.
    pub(crate) fn rights(&self) -> Option<TextStatement> {
        let names = &self.0;
        let (model, table) = (names.model, names.table(&names.model.table));
        let may = |column: &str, right: &str| {
            let literal = |text: &str| text.replace('\'', "''");
            format!("has_column_privilege('{}', '{}', '{right}')", literal(&table), literal(column))
        };
        let all = |columns: &[&str], right: &str| {
            let each: Vec<String> = columns.iter().map(|column| may(column, right)).collect();
            each.join(" AND ")
        };
        let updated = [UserField::Password, UserField::LastLogin];
        let updated: Vec<&str> = updated.iter().filter_map(|field| model.column_of(*field)).collect();
        let mut read = vec![&*model.key.0, &*model.login];
        read.extend(model.columns());
        let list = updated.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", ");
        match names.dialect {
            #[cfg(feature = "postgres")]
            Dialect::Postgres => {
                let sql = format!(
                    "SELECT 'SELECT ON {table}' WHERE NOT ({}) \
                     UNION ALL SELECT 'UPDATE ({list}) ON {table}' WHERE NOT ({})",
                    all(&read, "SELECT"),
                    all(&updated, "UPDATE"),
                );
                Some(TextStatement::read(
                    Action::new("look at the rights on the table of users", Purpose::User),
                    sql,
                ))
            }
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => None,
        }
    }

    /// $1 is a key, or NULL. Returns keys above it and their password columns.
    pub(crate) fn passwords(&self, limit: u32) -> TextStatement {
        let names = &self.0;
        let model = names.model;
        let (table, key) = (names.table(&model.table), quote(&model.key.0));
        let password = quote(model.column_of(UserField::Password).unwrap_or("password"));
        let (cast, param) = match names.dialect {
            #[cfg(feature = "postgres")]
            Dialect::Postgres => ("::text", "CAST($1 AS text)"),
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => ("", "?1"),
        };
        let after = format!("{param} IS NULL OR u.{key} > {}", names.key_value(1));
        let sql = format!(
            "SELECT u.{key}{cast}, u.{password}{cast} FROM {table} u WHERE {after} \
             ORDER BY u.{key} LIMIT {limit}"
        );
        TextStatement::read(Action::new("read the password columns", Purpose::User), sql)
    }
}
