//! Django's login: the tables of users, password hashes, and the logins that live sessions hold.

use std::collections::BTreeMap;

use actix_django_session::{
    SecretKey, Store,
    auth::{
        Auth, LoginState, Users,
        password::{PasswordAlgorithm, PasswordSummary},
    },
    codec::SessionData,
};
use futures_util::future::try_join_all;

use super::{
    report::{Report, Severity},
    secrets::share,
};
use crate::{args::DoctorArgs, context::Context, error::Result, output::printable};

/// Users whose password columns are read at most.
const MAX_USERS: u64 = 100_000;

/// Users of one statement.
const PAGE: u32 = 1000;

/// Sessions whose users are loaded together.
const BATCH: usize = 100;

pub(super) async fn check(
    context: &Context,
    store: &Store,
    args: &DoctorArgs,
    report: &mut Report,
) -> Result<()> {
    let Ok(users) = Users::of(store) else { return Ok(()) }; // the users are elsewhere
    let users = users.with_model(args.model.user_model.clone())?;
    let sessions = LoggedIn::find(store, args.sample).await?;
    if !check_tables(&users, args, &sessions, report).await? {
        return Ok(());
    }
    check_passwords(&users, args, report).await?;
    check_sessions(context, users, args, &sessions, report).await
}

/// Returns whether there is a table of users that can be read.
async fn check_tables(
    users: &Users,
    args: &DoctorArgs,
    sessions: &LoggedIn,
    report: &mut Report,
) -> Result<bool> {
    let (table, missing) = (users.table(), users.missing_tables().await?);
    if missing.contains(&table) {
        let found = format!("there is no table {table} in this database");
        let advice = "run `manage.py migrate`, or `django-session createuser --create-tables`; or is it \
             another \
                      database, or another --user-model?";
        let named = sessions.all.len() as u64;
        if args.hasher.django.is_some() {
            report.problem("users", found, advice);
        } else if named > 0 {
            let share = share(named, sessions.live, "live session");
            report.warning("users", format!("{found}, and users are logged in in {share}"), advice);
        }
        // Else it is a site without Django's login.
        return Ok(false);
    }
    if missing.is_empty() {
        report.ok("users", format!("{table} and the tables that belong to it exist"));
    } else {
        let advice = "run `manage.py migrate`; for a model without PermissionsMixin add without=permissions \
             to \
                      --user-model";
        report.problem("users", format!("there is no table {}", missing.join(", ")), advice);
    }
    let Some(rights) = users.missing_rights().await? else { return Ok(true) };
    for right in &rights {
        let (found, advice) = (format!("the role may not {right}"), format!("GRANT {right} TO it"));
        match right.starts_with("SELECT") {
            true => report.problem("rights", found, format!("{advice}: without it nobody is logged in")),
            false => report.warning("rights", found, format!("{advice}, if users log in by this role")),
        }
    }
    if rights.is_empty() {
        report.ok("rights", format!("SELECT on {table}, and UPDATE for logins"));
    }
    Ok(!rights.iter().any(|right| right.starts_with("SELECT")))
}

async fn check_passwords(users: &Users, args: &DoctorArgs, report: &mut Report) -> Result<()> {
    let (mut after, mut all) = (None, 0);
    let mut found: BTreeMap<String, (u64, PasswordSummary)> = BTreeMap::new();
    while all < MAX_USERS {
        let page = users.password_summaries(after.as_deref(), PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (_, summary) in page {
            all += 1;
            found.entry(summary.to_string()).or_insert((0, summary)).0 += 1;
        }
    }
    if all == 0 {
        report.ok("passwords", "there is no user yet");
        return Ok(());
    }
    let preferred = args.hasher.django.and_then(|version| args.hasher.of(version));
    let (mut hashed, mut as_preferred) = (0, 0);
    for (text, (number, summary)) in &found {
        let share = format!("{text}: {}", share(*number, all, "user"));
        let algorithm = summary.algorithm();
        match summary.hasher() {
            Some(hasher) => {
                hashed += number;
                as_preferred += if Some(hasher) == preferred { *number } else { 0 };
                match preferred {
                    _ if algorithm.is_some_and(needs_to_be_accepted) => report.warning(
                        "passwords",
                        share,
                        "refused unless the site says PasswordHashers::accept for this algorithm",
                    ),
                    Some(preferred) if preferred != hasher => report.note(
                        "passwords",
                        share,
                        format!(
                            "a login hashes it again as {preferred}, which ends the user's other sessions"
                        ),
                    ),
                    _ => report.ok("passwords", share),
                }
            }
            None if [PasswordSummary::of("!"), PasswordSummary::of("")].contains(summary) => {
                report.ok("passwords", share);
            }
            None => report.warning("passwords", share, "these users cannot log in: set new passwords"),
        }
    }
    match preferred {
        Some(preferred) if as_preferred == 0 && hashed > 0 => report.warning(
            "passwords",
            format!("no user has {preferred}"),
            "is it the site's version (--django) and the first of its PASSWORD_HASHERS (--hasher)? Two sides \
             that prefer different ones hash each other's passwords again at every login",
        ),
        None if hashed > 0 => report.note(
            "passwords",
            "not compared with what the site prefers",
            "give the site's version, --django 5.2",
        ),
        _ => {}
    }
    Ok(())
}

/// Django's own settings refuse these, too.
fn needs_to_be_accepted(algorithm: PasswordAlgorithm) -> bool {
    use PasswordAlgorithm::{Bcrypt, Md5, Sha1, UnsaltedMd5, UnsaltedSha1};
    matches!(algorithm, Bcrypt | Md5 | Sha1 | UnsaltedMd5 | UnsaltedSha1)
}

/// Live sessions in which a user is logged in.
struct LoggedIn {
    /// Live sessions that were read.
    live: u64,
    all: Vec<SessionData>,
}

impl LoggedIn {
    /// Among the first live sessions that are listed.
    async fn find(store: &Store, sample: u32) -> Result<Self> {
        let (mut sessions, mut found) = (store.sessions(), Self { live: 0, all: Vec::new() });
        while found.live < u64::from(sample) {
            let Some(session) = sessions.next().await? else { break };
            if session.is_expired() {
                continue;
            }
            found.live += 1;
            found.all.extend(session.data.ok().filter(|data| data.get_json("_auth_user_id").is_some()));
        }
        Ok(found)
    }
}

async fn check_sessions(
    context: &Context,
    users: Users,
    args: &DoctorArgs,
    sessions: &LoggedIn,
    report: &mut Report,
) -> Result<()> {
    let secret = context.secret_key();
    let has_secret = secret.is_some();
    // Without a secret the hashes are not looked at.
    let auth = Auth::new(users, secret.unwrap_or_else(|| SecretKey::new("none")))?;
    let (mut backends, mut states) = (BTreeMap::<String, u64>::new(), [0; 5]);
    for batch in sessions.all.chunks(BATCH) {
        let logins = try_join_all(batch.iter().map(|data| auth.inspect_login(data))).await?;
        for login in logins.into_iter().flatten() {
            *backends.entry(login.backend).or_default() += 1;
            states[login.state as usize] += 1;
        }
    }
    let logins = backends.values().sum();
    if logins == 0 {
        report.ok("logins", "nobody is logged in in the live sessions");
        return Ok(());
    }
    let share = |number: u64| share(number, logins, "login");
    for (path, number) in &backends {
        let found = format!("{}: {}", printable(path), share(*number));
        if args.backends.contains(path) {
            report.ok("logins", found);
        } else {
            let advice = "if Auth does not list this backend (AcceptedBackend), these users are not logged \
                 in \
                          there; if it does, say so by --backend";
            report.warning("logins", found, advice);
        }
    }
    let count = |state: LoginState| states[state as usize];
    let (valid, fallback) = (count(LoginState::Valid), count(LoginState::ByFallback));
    if has_secret {
        report.ok("logins", format!("the secret key made the hash of {}", share(valid)));
        if fallback > 0 {
            let advice = "their next request renews it: keep the fallback until the cookie age has passed";
            report.note("logins", format!("a fallback made the hash of {}", share(fallback)), advice);
        }
        let other = count(LoginState::OtherHash);
        if other > 0 {
            let severity = if valid + fallback == 0 { Severity::Problem } else { Severity::Ok };
            let found = format!("made by no secret given, for the password in the table: {}", share(other));
            let advice = "their next request logs them out, as after a change of password; if that is \
                 wrong, is it \
                          the site's SECRET_KEY, or is a fallback missing?";
            report.add(severity, "logins", found, advice);
        }
    } else {
        let advice = "give --secret-key-file or the variable SECRET_KEY, and its fallbacks";
        report.note("logins", "no secret was given, so no hash was checked", advice);
    }
    for (state, what) in
        [(LoginState::NoUser, "of users who do not exist"), (LoginState::Inactive, "of inactive users")]
    {
        if count(state) > 0 {
            report.ok("logins", format!("{what}: {}", share(count(state))));
        }
    }
    Ok(())
}
