//! The table's name, and the statement that creates it.

use crate::Error;

/// Django's name of the table.
pub(super) const TABLE: &str = "django_session";

/// The name of a table of sessions, with its schema if one is given.
#[derive(Clone, Debug)]
pub(super) struct TableName {
    schema: Option<String>,
    name: String,
}

impl Default for TableName {
    fn default() -> Self {
        Self { schema: None, name: TABLE.to_owned() }
    }
}

impl TableName {
    /// Errors if PostgreSQL could not hold such a name unshortened.
    pub(super) fn new(name: &str, schema: Option<&str>) -> Result<Self, Error> {
        for part in [Some(name), schema].into_iter().flatten() {
            if part.is_empty() || part.len() > 63 || part.contains('\0') {
                return Err(Error::configuration(format!(
                    "{part:?} cannot name a table: PostgreSQL takes 1 to 63 bytes and no NUL"
                )));
            }
        }
        Ok(Self { schema: schema.map(str::to_owned), name: name.to_owned() })
    }

    pub(super) fn quoted(&self) -> String {
        let schema = self.schema.as_ref().map(|schema| quote(schema) + ".").unwrap_or_default();
        schema + &quote(&self.name)
    }

    /// Django's DDL, sent as one message and so one transaction. The indexes have the names that Django
    /// computes for its table.
    pub(super) fn ddl(&self) -> String {
        let (t, name) = (self.quoted(), &self.name);
        let index = |suffix: &str| {
            let mut name = name.clone();
            while name.len() + suffix.len() > 63 {
                name.pop(); // PostgreSQL would cut the suffix, and both names would be equal
            }
            quote(&(name + suffix))
        };
        let (like, expire_date) = (index("_session_key_c0390e0f_like"), index("_expire_date_a5c62663"));
        format!(
            "CREATE TABLE IF NOT EXISTS {t} (\"session_key\" varchar(40) NOT NULL PRIMARY KEY, \
             \"session_data\" text NOT NULL, \"expire_date\" timestamp with time zone NOT NULL); \
             CREATE INDEX IF NOT EXISTS {like} ON {t} (\"session_key\" varchar_pattern_ops); \
             CREATE INDEX IF NOT EXISTS {expire_date} ON {t} (\"expire_date\")"
        )
    }
}

pub(super) fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_checked() {
        let table = TableName::new("my \"sessions\"", Some("Accounts")).unwrap();
        assert_eq!(table.quoted(), r#""Accounts"."my ""sessions""""#);
        for bad in ["", "a\0b", &"x".repeat(64)] {
            assert!(TableName::new(bad, None).unwrap_err().is_configuration());
        }
    }
}
