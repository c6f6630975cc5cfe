//! The arguments of commands that know users: whose sessions, which model, which passwords.

use actix_django_session::auth::{
    UserField, UserKey, UserModel,
    password::{DjangoVersion, PasswordAlgorithm, PasswordHasher},
};

use crate::args::not_blank;

const VERSIONS: [(&str, DjangoVersion); 6] = [
    ("4.2", DjangoVersion::V4_2),
    ("5.0", DjangoVersion::V5_0),
    ("5.1", DjangoVersion::V5_1),
    ("5.2", DjangoVersion::V5_2),
    ("6.0", DjangoVersion::V6_0),
    ("6.1", DjangoVersion::V6_1),
];

#[derive(Debug, clap::Args)]
pub(crate) struct UserModelArgs {
    /// The site's AUTH_USER_MODEL, with what differs from Django's names after a question mark.
    ///
    /// For example 'accounts.Member?table=members&key=uid:uuid&login=email&without=is_staff,permissions'. The
    /// key's type is integer, uuid or text; `without` lists the fields that the table does not have.
    #[arg(long, value_name = "MODEL", default_value = "auth.User", value_parser = user_model)]
    pub(crate) user_model: UserModel,
}

/// How the site hashes new passwords.
#[derive(Debug, clap::Args)]
pub(crate) struct HasherArgs {
    /// The site's version of Django, such as 5.2: its hashers' parameters differ.
    #[arg(long, value_name = "VERSION", value_parser = django_version)]
    pub(crate) django: Option<DjangoVersion>,
    /// The first of the site's PASSWORD_HASHERS: pbkdf2_sha256, argon2, scrypt, bcrypt_sha256, …
    #[arg(long, value_name = "ALGORITHM", default_value = "pbkdf2_sha256", value_parser = algorithm)]
    pub(crate) hasher: PasswordAlgorithm,
}

impl HasherArgs {
    /// The preferred hasher of this version.
    pub(crate) fn of(&self, version: DjangoVersion) -> Option<PasswordHasher> {
        version.hasher(self.hasher)
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only those in which the user with this id (the primary key) is logged in.
    #[arg(long, value_name = "ID", allow_hyphen_values = true, value_parser = not_blank)]
    pub(crate) user: Option<String>,
    /// Only those in which the user with this login name is logged in.
    #[arg(long, value_name = "NAME", conflicts_with = "user")]
    #[arg(allow_hyphen_values = true, value_parser = not_blank)]
    pub(crate) username: Option<String>,
    /// Expired sessions that have not been cleared, instead of the live ones.
    #[arg(long)]
    pub(crate) expired: bool,
    /// At most this many.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// One JSON object per line.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) model: UserModelArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    /// Keys of sessions; `-` reads them from standard input, one per line.
    #[arg(value_name = "KEY", value_parser = not_blank)]
    pub(crate) keys: Vec<String>,
    /// All live sessions of the user with this id (the primary key, not the name).
    #[arg(long, value_name = "ID", allow_hyphen_values = true, value_parser = not_blank)]
    pub(crate) user: Option<String>,
    /// All live sessions of the user with this login name.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true, value_parser = not_blank)]
    pub(crate) username: Option<String>,
    /// All sessions of all users, expired ones too. Asks for confirmation.
    #[arg(long)]
    pub(crate) all: bool,
    /// Skip the confirmation.
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) model: UserModelArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateUserArgs {
    /// The login name.
    #[arg(value_name = "NAME", value_parser = not_blank)]
    pub(crate) name: String,
    /// The user's email address.
    #[arg(long, value_name = "ADDRESS", value_parser = email)]
    pub(crate) email: Option<String>,
    /// Give the user all permissions, and let it into Django's admin.
    #[arg(long)]
    pub(crate) superuser: bool,
    /// Let the user into Django's admin.
    #[arg(long)]
    pub(crate) staff: bool,
    /// No password: the user cannot log in by one.
    #[arg(long)]
    pub(crate) no_password: bool,
    /// Take passwords that Django's validators refuse: short, common, numeric, similar to the name.
    #[arg(long)]
    pub(crate) any_password: bool,
    /// Create Django's tables of users, groups and permissions first, if there are none.
    #[arg(long)]
    pub(crate) create_tables: bool,
    #[command(flatten)]
    pub(crate) hasher: HasherArgs,
    #[command(flatten)]
    pub(crate) model: UserModelArgs,
}

fn django_version(text: &str) -> Result<DjangoVersion, String> {
    // 5.2.19 is a 5.2.
    let known =
        |name: &str| text.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let found = VERSIONS.iter().find(|(name, _)| known(name));
    found.map(|(_, version)| *version).ok_or_else(|| {
        let names: Vec<&str> = VERSIONS.iter().map(|(name, _)| *name).collect();
        format!("must be one of {}", names.join(", "))
    })
}

fn algorithm(text: &str) -> Result<PasswordAlgorithm, String> {
    let found = PasswordAlgorithm::from_name(text);
    // Those that only verify make no new hashes.
    found.filter(|algorithm| DjangoVersion::V5_2.hasher(*algorithm).is_some()).ok_or_else(|| {
        "must be the name of one of Django's hashers, such as pbkdf2_sha256, argon2 or scrypt".to_owned()
    })
}

fn email(text: &str) -> Result<String, String> {
    match text.rsplit_once('@') {
        Some((name, domain))
            if !name.is_empty() && !domain.is_empty() && !text.contains(char::is_whitespace) =>
        {
            Ok(text.to_owned())
        }
        _ => Err("must be an address such as ada@example.com".to_owned()),
    }
}

/// `app.Class?parameter=value&…`.
fn user_model(text: &str) -> Result<UserModel, String> {
    let (name, query) = text.split_once('?').unwrap_or((text, ""));
    let (app, class) = name
        .split_once('.')
        .filter(|(app, class)| !app.is_empty() && !class.is_empty())
        .ok_or("must begin with app and class, as AUTH_USER_MODEL does: accounts.Member")?;
    let mut model = UserModel::new(app, class);
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (parameter, value) = part.split_once('=').unwrap_or((part, ""));
        if value.is_empty() {
            return Err(format!("{parameter} has no value"));
        }
        model = match parameter {
            "table" => model.table(value),
            "schema" => model.schema(value),
            "login" => model.login_column(value),
            "key" => {
                let (column, kind) = value.split_once(':').unwrap_or((value, "integer"));
                model.key(column, key_type(kind)?)
            }
            "password" => model.column(UserField::Password, value),
            "without" => value.split(',').try_fold(model, without)?,
            _ => {
                return Err(format!(
                    "{parameter} is not one of table, schema, key, login, password, without"
                ));
            }
        };
    }
    Ok(model)
}

fn key_type(text: &str) -> Result<UserKey, String> {
    match text {
        "integer" => Ok(UserKey::Integer),
        "uuid" => Ok(UserKey::Uuid),
        "text" => Ok(UserKey::Text),
        _ => Err("the type of the key is integer, uuid or text".to_owned()),
    }
}

fn without(model: UserModel, field: &str) -> Result<UserModel, String> {
    Ok(match field {
        "permissions" => model.without_permissions(),
        "last_login" => model.without(UserField::LastLogin),
        "is_superuser" => model.without(UserField::IsSuperuser),
        "is_staff" => model.without(UserField::IsStaff),
        "is_active" => model.without(UserField::IsActive),
        "first_name" => model.without(UserField::FirstName),
        "last_name" => model.without(UserField::LastName),
        "email" => model.without(UserField::Email),
        "date_joined" => model.without(UserField::DateJoined),
        _ => {
            return Err(
                "without lists permissions, last_login, is_superuser, is_staff, is_active, first_name, \
                 last_name, email, date_joined"
                    .to_owned(),
            );
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_models_are_read() {
        for (text, version) in [("4.2", DjangoVersion::V4_2), ("5.2.19", DjangoVersion::V5_2)] {
            assert_eq!(django_version(text), Ok(version));
        }
        for text in ["5.20", "5", "", "7.0"] {
            assert!(django_version(text).is_err(), "{text}");
        }
        assert!(algorithm("argon2").is_ok() && algorithm("sha1").is_err() && algorithm("x").is_err());
        let all = "accounts.Member?table=members&schema=s&key=uid:uuid&login=email&password=pw\
                   &without=is_staff,permissions,last_login,first_name,last_name,date_joined,email,is_active,\
                   is_superuser";
        let model = user_model(all).unwrap();
        let expected = UserModel::bare("accounts", "Member", "email")
            .table("members")
            .schema("s")
            .key("uid", UserKey::Uuid)
            .column(UserField::Password, "pw")
            .without(UserField::LastLogin);
        assert_eq!(format!("{model:?}"), format!("{expected:?}"));
        for text in ["", "Member", ".x", "a.B?table", "a.B?key=id:blob", "a.B?without=x", "a.B?color=red"] {
            assert!(user_model(text).is_err(), "{text}");
        }
        assert!(
            email("a@b").is_ok() && email("@b").is_err() && email("a b@c").is_err() && email("a").is_err()
        );
    }
}
