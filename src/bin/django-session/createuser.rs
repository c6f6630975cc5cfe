//! `createuser`: a new row in the table of users, where there is no Django to make it.

use actix_django_session::{
    SecretKey,
    auth::{
        Auth, NewUser,
        password::{DjangoVersion, PasswordHashers, PasswordValidators},
    },
};

use crate::{
    context::Context,
    error::{CliError, Result, Status},
    output::{Output, printable},
    password,
    user_args::CreateUserArgs,
    users,
};

/// As Django's `UnicodeUsernameValidator` and the length of `auth.User`.
fn check_name(name: &str) -> Result<()> {
    let is_allowed = |c: char| c.is_alphanumeric() || "_.@+-".contains(c);
    match name.chars().all(is_allowed) && name.chars().count() <= 150 {
        true => Ok(()),
        false => {
            Err(CliError::Usage("a login name has up to 150 letters, digits and @ . + - _ only".to_owned()))
        }
    }
}

pub(crate) async fn run(context: &Context, args: &CreateUserArgs, out: &mut Output) -> Result {
    check_name(&args.name)?;
    let store = context.store().await?;
    let users = users::of(&store, &args.model.user_model)?;
    if args.create_tables {
        users.create_tables().await?;
    }
    users::require_table(&users).await?;
    if users.get_by_username(&args.name).await?.is_some() {
        // Before the password is typed.
        return Err(CliError::new(format!("there is a user {} already", printable(&args.name))));
    }
    let password = if args.no_password { None } else { Some(password::read_new()?) };
    if let Some(password) = &password
        && !args.any_password
    {
        check_password(args, password)?;
    }
    let hasher = args.hasher.of(args.hasher.django.unwrap_or(DjangoVersion::V5_2));
    let hashers = hasher.map(PasswordHashers::new).unwrap_or_default();
    // The secret signs sessions: it takes no part in a password.
    let auth = Auth::new(users, SecretKey::new("not used"))?.hashers(hashers)?;
    let user = auth.create_user(new_user(args), password.as_deref()).await?;
    let (name, id) = (printable(user.username()), printable(user.id()));
    out.line(format_args!("created user {name}, id {id}"))?;
    Ok(Status::Success)
}

fn new_user(args: &CreateUserArgs) -> NewUser {
    let mut new = NewUser::new(&args.name);
    if let Some(email) = &args.email {
        new = new.email(email);
    }
    match (args.superuser, args.staff) {
        (true, _) => new.superuser(),
        (false, true) => new.staff(),
        (false, false) => new,
    }
}

fn check_password(args: &CreateUserArgs, password: &str) -> Result<()> {
    let mut attributes = vec![("username", &*args.name)];
    attributes.extend(args.email.as_deref().map(|email| ("email address", email)));
    PasswordValidators::django().validate(password, &attributes).map_err(|messages| {
        CliError::new(format!("{} Choose another one, or add --any-password", messages.join(" ")))
    })
}
