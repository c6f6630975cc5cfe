//! The command line, and its help.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  failed: the database is away, a line could not be decoded, …; standard error says what
    2  the command line is wrong
    3  doctor found problems
    4  there is no such session
  130  ended by Ctrl-C, 143 by SIGTERM

Examples:
  export DATABASE_URL=postgres://app@db.example/site SECRET_KEY=…
  django-session doctor
  django-session clearsessions --pause 0.1
  django-session revoke --user 42

Standard output has what was asked for, standard error has messages. Session keys are shortened, and
secrets are never shown.";

/// Looks after Django's sessions: clears expired ones, finds what is wrong, shows, lists and ends sessions.
///
/// Works on the sessions of Django sites and of actix-django-session alike: a django_session table in PostgreSQL, and
/// whatever else the program was built for (SQLite, Redis, files). `django-session help COMMAND` says more of each.
#[derive(Debug, Parser)]
#[command(name = "django-session", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) site: SiteArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

// No `env` of clap: what is in the environment must not be shown, and an empty variable is none.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The site")]
pub(crate) struct SiteArgs {
    /// Where the sessions are, otherwise from DATABASE_URL.
    ///
    /// postgres://user:password@host:port/database (with ?table=… and ?schema=… if the table is not django_session on
    /// the search_path), sqlite:///var/db.sqlite3, redis://host/0, file:///var/sessions, or cached:redis://… postgres://…
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) database_url: Option<String>,

    /// Django's SECRET_KEY, otherwise from SECRET_KEY.
    ///
    /// An argument is seen by all users of the machine: prefer the variable, or --secret-key-file.
    #[arg(long, global = true, value_name = "KEY", allow_hyphen_values = true)]
    pub(crate) secret_key: Option<String>,

    /// A file with nothing but the SECRET_KEY; one newline at its end is dropped.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "secret_key")]
    pub(crate) secret_key_file: Option<PathBuf>,

    /// A former SECRET_KEY that still opens sessions; may be given again. Otherwise from SECRET_KEY_FALLBACKS, with
    /// commas between.
    #[arg(long = "fallback", global = true, value_name = "KEY", allow_hyphen_values = true)]
    pub(crate) fallbacks: Vec<String>,

    /// Name of the site's engine class, if it is not SessionStore: Django salts signatures with it.
    #[arg(long, global = true, value_name = "CLASS")]
    pub(crate) salt_class: Option<String>,

    /// How long one statement may take, if the URL does not say (deadline=…).
    #[arg(long, global = true, value_name = "SECONDS", default_value = "60", value_parser = positive)]
    pub(crate) deadline: Duration,

    /// Show session keys whole. Whoever knows one can be that visitor.
    #[arg(long, global = true)]
    pub(crate) full_keys: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Delete expired sessions, a batch at a time.
    ///
    /// Django's command of that name is one statement in one transaction: all or nothing. Here no transaction is
    /// longer than a batch, rows that somebody else holds are passed by, and so it may run on many hosts at once and
    /// beside a busy site; it takes longer. Ended at any moment, it has done what it has done: run it again to go on.
    /// Ctrl-C ends it after the running batch, a second one at once.
    ///
    /// Needs no secret key, but for sessions in files.
    #[command(after_long_help = "\
Examples:
  django-session clearsessions
  django-session clearsessions --batch 500 --pause 0.2          # gently, beside a busy site
  django-session clearsessions --vacuum                         # millions, as the table's owner
  django-session clearsessions --limit 1000000                  # the rest another night
  django-session clearsessions --dry-run                        # only count them")]
    Clearsessions(ClearArgs),

    /// Find what is wrong with the table, its indexes, rights, clock, upkeep and secrets.
    ///
    /// Looks and changes nothing. Each finding is ok, a warning or a problem, with what to do about it. Tries the secret key
    /// and each fallback on a sample of the sessions, and tells how many each opens, which Django wrote them, and why
    /// the others do not open.
    ///
    /// Exit code 3 if there is a problem; warnings alone are 0.
    #[command(after_long_help = "\
Examples:
  django-session doctor
  django-session doctor --sample 20000
  django-session doctor --json | jq '.findings[] | select(.level != \"ok\")'")]
    Doctor(DoctorArgs),

    /// Show one session: its data, user, end, size, and which secret opened it.
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
  django-session list --user 42 --full-keys --json | jq -r .key
  django-session list --expired | wc -l")]
    List(ListArgs),

    /// End sessions: those with these keys, all of a user, or all.
    ///
    /// Whoever has one is logged out by the next request. Prints how many were ended. Exit code 4 if a key is not
    /// there, 1 if sessions cannot be read that could be the user's.
    #[command(group = ArgGroup::new("which").required(true).args(["keys", "user", "all"]))]
    #[command(after_long_help = "\
Examples:
  django-session revoke --user 42                                # logged out everywhere
  django-session revoke - < leaked-keys.txt                      # a key a line
  django-session revoke --all --yes")]
    Revoke(RevokeArgs),

    /// Turn JSON objects, one a line, into the text that Django stores.
    #[command(after_long_help = "\
Examples:
  echo '{\"_auth_user_id\": \"42\"}' | django-session encode
  django-session encode --salt-class MyStore --serializer pickle < sessions.jsonl

A line that is no JSON object is reported with its number and the others are encoded all the same:
exit code 1.")]
    Encode(EncodeArgs),

    /// Turn text that Django stored, one a line, into JSON.
    ///
    /// Reads the formats of every Django, JSON and pickled, with the secret key and its fallbacks. Nothing that is
    /// pickled is ever run: an object that has no JSON is there by the name of its class.
    #[command(after_long_help = "\
Examples:
  psql -Atc 'SELECT session_data FROM django_session' | django-session decode | jq ._auth_user_id

A line that cannot be decoded is reported with its number and the others are decoded all the same:
exit code 1.")]
    Decode,

    /// Create the table django_session and its indexes, as Django's migration does.
    ///
    /// A table that is there stays as it is. Needs no secret key. A Django site that comes later accepts it with
    /// `manage.py migrate --fake-initial`.
    #[command(after_long_help = "\
Examples:
  django-session createtable
  django-session createtable --database-url 'postgres://app@db.example/site?schema=accounts'")]
    Createtable,

    /// Count: live and expired sessions, when they end or ended, their sizes, users and anonymous visitors.
    ///
    /// Tables of millions are estimated from a sample.
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
    /// Wait so long between batches; may have a fraction.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub(crate) pause: Duration,
    /// Delete at most so many.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Also VACUUM the table, after each million and at the end: until then every query finds its way through what
    /// was deleted. Only in PostgreSQL, and only as the table's owner.
    #[arg(long)]
    pub(crate) vacuum: bool,
    /// Only count what would be deleted.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Sessions that the secrets are tried on.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) sample: u32,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
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

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only those in which this user is logged in.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub(crate) user: Option<String>,
    /// The expired ones that nobody has cleared, instead of the live ones.
    #[arg(long)]
    pub(crate) expired: bool,
    /// At most so many.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// A JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    /// Keys of sessions; `-` reads them from standard input, one a line.
    #[arg(value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// All sessions of the user with this id (the primary key, not the name).
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub(crate) user: Option<String>,
    /// All sessions of all users, expired ones too. Asks first.
    #[arg(long)]
    pub(crate) all: bool,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Django's JSONSerializer.
    Json,
    /// PickleSerializer of Django 4.2 and older.
    Pickle,
}

#[derive(Debug, clap::Args)]
pub(crate) struct EncodeArgs {
    /// The site's SESSION_SERIALIZER.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub(crate) serializer: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StatsArgs {
    /// Live sessions that are opened to see whether somebody is logged in.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) sample: u32,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
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
    fn the_command_line_makes_sense() {
        super::Args::command().debug_assert();
    }
}
