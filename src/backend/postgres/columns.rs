//! Further columns of the table, each of which mirrors a value of the session.

use std::{collections::BTreeMap, sync::Arc};

use super::table::quote;
use crate::{Error, backend::SiteSettings};

/// Further columns and how their values are read.
#[derive(Clone, Default)]
pub(super) struct Columns {
    mirrored: Arc<[Mirrored]>,
    site: SiteSettings,
}

#[derive(Clone)]
struct Mirrored {
    column: String,
    /// The key in the session's dictionary.
    key: String,
}

impl Columns {
    pub(super) fn with(&self, column: &str, key: &str) -> Result<Self, Error> {
        let own = ["session_key", "session_data", "expire_date"];
        let possible = (1..=63).contains(&column.len()) && !column.contains('\0');
        if !possible || own.contains(&column) || self.mirrored.iter().any(|other| other.column == column) {
            return Err(Error::configuration(format!(
                "{column:?} cannot be a further column: name each one once, by 1 to 63 bytes, and none of \
                 Django's own three"
            )));
        }
        let new = Mirrored { column: column.to_owned(), key: key.to_owned() };
        Ok(Self { mirrored: self.mirrored.iter().cloned().chain([new]).collect(), ..self.clone() })
    }

    pub(super) fn with_settings(&self, site: &SiteSettings) -> Self {
        Self { site: site.clone(), ..self.clone() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.mirrored.is_empty()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.mirrored.iter().map(|mirrored| mirrored.column.clone()).collect()
    }

    /// The texts of the columns of a row with this value, as a JSON object for the statements.
    pub(super) fn texts(&self, value: &[u8]) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let text = |mirrored: &Mirrored| (mirrored.column.clone(), self.site.text(value, &mirrored.key));
        let texts: BTreeMap<String, Option<String>> = self.mirrored.iter().map(text).collect();
        serde_json::to_string(&texts).ok()
    }

    /// Each column, quoted, with its value from a JSON object. PostgreSQL casts the text to the column's
    /// type.
    fn values(&self, table: &str, texts: &str) -> impl Iterator<Item = (String, String)> {
        self.mirrored.iter().map(move |mirrored| {
            let column = quote(&mirrored.column);
            let value = format!("(jsonb_populate_record(NULL::{table}, ({texts})::jsonb)).{column}");
            (column, value)
        })
    }

    /// The parts of an INSERT: ", columns" and ", values".
    pub(super) fn insert(&self, table: &str, texts: &str) -> (String, String) {
        let values = self.values(table, texts);
        values.fold(Default::default(), |(columns, all), (column, value)| {
            (format!("{columns}, {column}"), format!("{all}, {value}"))
        })
    }

    /// The part of an UPDATE of the table `s`: the columns stay if the value does.
    pub(super) fn update(&self, table: &str, texts: &str, value: &str) -> String {
        let set = |(column, text)| {
            format!(", {column} = CASE WHEN {value} IS NULL THEN s.{column} ELSE {text} END")
        };
        self.values(table, texts).map(set).collect()
    }

    /// The values of `others`, quoted columns of the deleted row `s`, for the row that replaces it.
    pub(super) fn moved(&self, table: &str, others: &[String], texts: &str, value: &str) -> String {
        let mirrored: BTreeMap<String, String> = self.values(table, texts).collect();
        let of = |column: &String| match mirrored.get(column) {
            Some(text) => format!(", CASE WHEN {value} IS NULL THEN s.{column} ELSE {text} END"),
            None => format!(", s.{column}"),
        };
        others.iter().map(of).collect()
    }
}
