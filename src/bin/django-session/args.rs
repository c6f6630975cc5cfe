//! The command line, and its help.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::user_args::{CreateUserArgs, HasherArgs, ListArgs, RevokeArgs, UserModelArgs};

const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  failed: the database is away, a line could not be decoded, …; standard error says why
    2  the command line is wrong
    3  doctor found problems
    4  there is no such session, or no such user
  130  stopped by Ctrl-C, 143 by SIGTERM

Examples:
  export DATABASE_URL=postgres://app@db.example/site SECRET_KEY=…
  django-session doctor
  django-session clearsessions --pause 0.1
  django-session revoke --user 42

Standard output has the result, standard error the messages. Session keys are shortened, and secrets are
never shown. Only `encode` needs a secret key; without one, signatures are not checked.";

/// Clears, checks, shows, lists and revokes the sessions of Django sites.
///
/// Works on the sessions of Django sites and of actix-django-session alike: a django_session table in
/// PostgreSQL, and what else the program was built for (SQLite, Redis, files). `django-session help COMMAND`
/// explains each command.
#[derive(Debug, Parser)]
#[command(name = "django-session", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) context: ContextArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

// Not clap's `env`: help must not show the environment, and an empty variable counts as unset.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The site")]
pub(crate) struct ContextArgs {
    /// Where the sessions are. Default: the variable DATABASE_URL.
    ///
    /// postgres://user:password@host:port/database (with ?table=… and ?schema=… if the table is not
    /// django_session on the search_path), sqlite:////var/db, redis://host/0, file:///var/sessions, or
    /// cached:redis://… postgres://…
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) database_url: Option<String>,

    /// Django's SECRET_KEY. Default: the variable SECRET_KEY.
    ///
    /// All users of the machine can see arguments: prefer the variable, or --secret-key-file.
    #[arg(long, global = true, value_name = "KEY", allow_hyphen_values = true)]
    pub(crate) secret_key: Option<String>,

    /// A file that contains the SECRET_KEY and nothing else; one newline at its end is dropped.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "secret_key")]
    pub(crate) secret_key_file: Option<PathBuf>,

    /// A former SECRET_KEY that still verifies sessions; may be repeated. Default: the variable
    /// SECRET_KEY_FALLBACKS, separated by commas.
    #[arg(long = "fallback", global = true, value_name = "KEY", allow_hyphen_values = true)]
    pub(crate) fallbacks: Vec<String>,

    /// Name of the site's engine class, if it is not SessionStore: Django's signatures are salted with it.
    #[arg(long, global = true, value_name = "CLASS")]
    pub(crate) salt_class: Option<String>,

    /// Timeout of one statement, if the URL has no deadline=….
    #[arg(long, global = true, value_name = "SECONDS", default_value = "60", value_parser = positive)]
    pub(crate) deadline: Duration,

    /// Show whole session keys. Anybody who knows one can impersonate the visitor.
    #[arg(long, global = true)]
    pub(crate) full_keys: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Delete expired sessions in batches.
    ///
    /// Django's command of that name is one statement in one transaction: all or nothing. Here each batch is
    /// a transaction of its own, and locked rows are skipped. So it may run on many hosts at once, beside a
    /// busy site; it takes longer. If it is stopped, finished batches stay deleted: run it again to
    /// continue. Ctrl-C stops it after the current batch, a second Ctrl-C at once.
    #[command(after_long_help = "\
Examples:
  django-session clearsessions
  django-session clearsessions --batch 500 --pause 0.2          # gently, beside a busy site
  django-session clearsessions --vacuum                         # millions, as the table's owner
  django-session clearsessions --limit 1000000                  # the rest another night
  django-session clearsessions --dry-run                        # only count them")]
    Clearsessions(ClearArgs),

    /// Check the table, its indexes, rights, clock, upkeep, secrets, and Django's login.
    ///
    /// Reads and changes nothing. Each finding is ok, a warning or a problem, with what to do about it. Tries
    /// the secret key and each fallback on a sample of the sessions: how many each verifies, which Django
    /// wrote them, and why others cannot be read.
    ///
    /// Where there is a table of users, also: their password hashes (of up to 100,000 users), compared with
    /// what the site prefers by --django and --hasher; the backends that live sessions name; and whether the
    /// secret made the hashes in them.
    ///
    /// Exit code 3 if there is a problem; warnings alone are 0.
    #[command(after_long_help = "\
Examples:
  django-session doctor
  django-session doctor --sample 20000
  django-session doctor --django 5.2 --hasher argon2             # what the site prefers
  django-session doctor --json | jq '.findings[] | select(.level != \"ok\")'")]
    Doctor(DoctorArgs),

    /// Show one session: its data, user, expiry, size, and which secret signed it.
    ///
    /// In PostgreSQL expired sessions are shown too. Exit code 4 if there is none, 1 if it cannot be read.
    #[command(after_long_help = "\
Examples:
  django-session show - <<< 0g8wyevvf1z2412sqs2m8qyt77f3r8uh     # not in the list of processes
  django-session show --raw KEY | jq .cart
  django-session show --json KEY")]
    Show(ShowArgs),

    /// List the live sessions, or the expired ones.
    #[command(after_long_help = "\
Examples:
  django-session list --limit 20
  django-session list --user 42
  django-session list --username ada
  django-session list --user 42 --full-keys --json | jq -r .key
  django-session list --expired | wc -l")]
    List(ListArgs),

    /// Delete sessions: by their keys, those of a user, or all.
    ///
    /// Their visitors are logged out by the next request. Prints how many were deleted. Exit code 4 if there
    /// is no session with a key. Exit code 1 if live sessions of the user are left, or sessions that cannot
    /// be read and could be the user's.
    #[command(group = ArgGroup::new("which").required(true).args(["keys", "user", "username", "all"]))]
    #[command(after_long_help = "\
Examples:
  django-session revoke --user 42                                # log a user out everywhere
  django-session revoke --username ada
  django-session revoke - < leaked-keys.txt                      # one key per line
  django-session revoke --all --yes")]
    Revoke(RevokeArgs),

    /// Encode JSON objects, one per line, as the text that Django stores.
    #[command(after_long_help = "\
Examples:
  echo '{\"_auth_user_id\": \"42\"}' | django-session encode
  django-session encode --salt-class MyStore --serializer pickle < sessions.jsonl

A line that is not a JSON object is reported with its number, and the other lines are still encoded:
exit code 1.")]
    Encode(EncodeArgs),

    /// Decode text that Django stored, one per line, as JSON.
    ///
    /// Reads the formats of every Django, JSON and pickled. Signatures are checked with the secret key and
    /// its fallbacks, if there are any. Pickles are never executed: an object that has no JSON is shown as
    /// its class name.
    #[command(after_long_help = "\
Examples:
  psql -Atc 'SELECT session_data FROM django_session' | django-session decode | jq ._auth_user_id

A line that cannot be decoded is reported with its number, and the other lines are still decoded:
exit code 1.")]
    Decode,

    /// Create the table django_session and its indexes, as Django's migration does.
    ///
    /// An existing table is left as it is. A Django site that comes later accepts it with
    /// `manage.py migrate --fake-initial`.
    #[command(after_long_help = "\
Examples:
  django-session createtable
  django-session createtable --database-url 'postgres://app@db.example/site?schema=accounts'")]
    Createtable,

    /// Create a user, where there is no Django to do it.
    ///
    /// The password is typed twice without being shown, or is the only line of standard input; never an
    /// argument. It is hashed as Django does, and checked by Django's four validators. The name is
    /// normalized as Django's forms do.
    ///
    /// A Django site that comes later takes tables and users, by `manage.py migrate --fake contenttypes` and
    /// `manage.py migrate --fake auth`.
    #[command(after_long_help = "\
Examples:
  django-session createuser ada --superuser --email ada@example.com --create-tables
  django-session createuser worker --no-password
  pass show site/ada | django-session createuser ada --django 5.2")]
    Createuser(CreateUserArgs),

    /// Count sessions: live and expired ones by expiry date, their sizes, users and anonymous visitors.
    ///
    /// Numbers and sizes are exact. Users are counted in a sample of the live sessions.
    #[command(after_long_help = "\
Examples:
  django-session stats
  django-session stats --json | jq .expired")]
    Stats(StatsArgs),

    /// Print a script that completes this program's command lines in a shell.
    #[command(after_long_help = "\
Examples:
  django-session completions bash > /etc/bash_completion.d/django-session
  django-session completions zsh > ~/.zfunc/_django-session")]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct ClearArgs {
    /// Sessions deleted by one statement.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    /// Pause between two batches; may have a fraction.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub(crate) pause: Duration,
    /// Delete at most this many.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Also VACUUM the table, after each million and at the end: until then queries step over what was
    /// deleted. Only in PostgreSQL, and only as the table's owner.
    #[arg(long)]
    pub(crate) vacuum: bool,
    /// Only count what would be deleted.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Sessions that the secrets are tried on, and whose logins are checked.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) sample: u32,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// An authentication backend that the site lists; may be repeated.
    #[arg(
        long = "backend",
        value_name = "PATH",
        default_value = "django.contrib.auth.backends.ModelBackend"
    )]
    pub(crate) backends: Vec<String>,
    #[command(flatten)]
    pub(crate) hasher: HasherArgs,
    #[command(flatten)]
    pub(crate) model: UserModelArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// The session's key; `-` reads it from standard input.
    pub(crate) key: String,
    /// Only its data, as JSON in one line.
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
    /// All that is known, as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SerializerName {
    /// Django's JSONSerializer.
    Json,
    /// PickleSerializer of Django 4.2 and older.
    Pickle,
}

#[derive(Debug, clap::Args)]
pub(crate) struct EncodeArgs {
    /// The site's SESSION_SERIALIZER.
    #[arg(long, value_enum, default_value_t = SerializerName::Json)]
    pub(crate) serializer: SerializerName,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StatsArgs {
    /// Live sessions that are read to count users.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) sample: u32,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Refuses what an unset shell variable leaves.
pub(crate) fn not_blank(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty: is a shell variable unset?".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "must be a number of seconds, such as 0.5".to_owned())
}

fn positive(text: &str) -> Result<Duration, String> {
    seconds(text).and_then(|duration| match duration.as_millis() {
        0 => Err("must be at least a millisecond, 0.001".to_owned()),
        _ => Ok(duration),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }
}
