//! The table of users, for commands that take a login name.

use actix_django_session::{
    Store,
    auth::{UserModel, Users},
};

use crate::{
    error::{CliError, Result},
    output::{error, printable},
};

/// The users in the database of the store. Errors if it is of another kind.
pub(crate) fn of(store: &Store, model: &UserModel) -> Result<Users> {
    let users = Users::of(store).map_err(|_| {
        CliError::new(
            "the table of users is in PostgreSQL or SQLite, and this URL is of neither: give the database's, \
             or a user's id instead of the name",
        )
    })?;
    Ok(users.with_model(model.clone())?)
}

/// Errors in words about this program if there is no table of users.
pub(crate) async fn require_table(users: &Users) -> Result<()> {
    let table = users.table();
    if users.missing_tables().await?.contains(&table) {
        return Err(CliError::new(format!(
            "there is no table {table} in this database: run `manage.py migrate`, or `django-session \
             createuser --create-tables`; or is another --user-model right?"
        )));
    }
    Ok(())
}

/// The id of the user with this login name. Says so if there is none.
pub(crate) async fn id_of(store: &Store, model: &UserModel, name: &str) -> Result<Option<String>> {
    let users = of(store, model)?;
    require_table(&users).await?;
    let user = users.get_by_username(name).await?;
    if user.is_none() {
        error(&format!("there is no user {}", printable(name)));
    }
    Ok(user.map(|user| user.id().to_owned()))
}
