//! What the operator's tool looks at: tables, rights, password columns, and the logins of live sessions.

use super::{Auth, Users, password::PasswordSummary, session_hash::MadeBy};
use crate::{Error, codec::SessionData};

/// A login that a session holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLogin {
    /// The path of the authentication backend; empty if there is none.
    pub backend: String,
    /// Whether the user is still logged in by it.
    pub state: LoginState,
}

/// Whether a session's login counts, as far as user and hash tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginState {
    /// The hash is of the user's password, by the current secret.
    Valid,
    /// By a fallback: it is renewed by the next request.
    ByFallback,
    /// By neither secret, for the password in the table.
    OtherHash,
    /// There is no such user.
    NoUser,
    /// The user is inactive.
    Inactive,
}

impl Auth {
    /// Returns the login that a session's data holds, if it holds one. Changes nothing.
    #[doc(hidden)]
    pub async fn inspect_login(&self, data: &SessionData) -> Result<Option<SessionLogin>, Error> {
        let text = |key: &str| serde_json::from_str::<String>(data.get_json(key)?).ok();
        let Some(id) = data.get_json("_auth_user_id") else { return Ok(None) };
        let backend = text("_auth_user_backend").unwrap_or_default();
        let user = match self.users().model().key.1.of_json(id) {
            Some(key) => self.users().get_by_key(key).await?,
            None => None,
        };
        let state = match user {
            None => LoginState::NoUser,
            Some(user) if !user.is_active() => LoginState::Inactive,
            Some(user) => {
                let hash = text("_auth_user_hash").unwrap_or_default();
                match self.hash().verify(&hash, user.password_column()) {
                    MadeBy::Current => LoginState::Valid,
                    MadeBy::Fallback => LoginState::ByFallback,
                    MadeBy::Nobody => LoginState::OtherHash,
                }
            }
        };
        Ok(Some(SessionLogin { backend, state }))
    }
}

impl Users {
    /// The name of the table of users, quoted, with its schema if it has one.
    #[doc(hidden)]
    pub fn table(&self) -> String {
        self.inspection().tables().remove(0)
    }

    /// Those tables of users, groups and permissions that do not exist; that of users comes first.
    #[doc(hidden)]
    pub async fn missing_tables(&self) -> Result<Vec<String>, Error> {
        let (inspection, mut missing) = (self.inspection(), Vec::new());
        for table in inspection.tables() {
            let found = self.database().execute(&inspection.exists(&table), &[]).await?;
            if !found.rows.iter().flatten().any(Option::is_some) {
                missing.push(table);
            }
        }
        Ok(missing)
    }

    /// The rights on the table of users that the role lacks, as a GRANT names them. `None` in SQLite, which
    /// has no rights.
    #[doc(hidden)]
    pub async fn missing_rights(&self) -> Result<Option<Vec<String>>, Error> {
        let Some(statement) = self.inspection().rights() else { return Ok(None) };
        let found = self.database().execute(&statement, &[]).await?;
        Ok(Some(found.rows.into_iter().flatten().flatten().collect()))
    }

    /// The keys of users in ascending order, after the given one, and what their password columns are.
    #[doc(hidden)]
    pub async fn password_summaries(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, PasswordSummary)>, Error> {
        let statement = self.inspection().passwords(limit);
        let found = self.database().execute(&statement, &[after]).await?;
        let summary = |row: Vec<Option<String>>| {
            let mut columns = row.into_iter();
            let (key, column) = (columns.next()??, columns.next()?.unwrap_or_default());
            Some((key, PasswordSummary::of(&column)))
        };
        Ok(found.rows.into_iter().filter_map(summary).collect())
    }
}
