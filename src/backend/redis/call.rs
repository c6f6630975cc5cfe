//! Calls to Redis: commands, the script, and how their replies are read.

use std::time::{Duration, SystemTime};

use redis::{Cmd, Pipeline, Value};
use sha1::{Digest as _, Sha1};

use super::stream::Address;
use crate::backend::{Replaced, Row};

/// The expiry of a value that never expires: the year 9999.
const NEVER: Duration = Duration::from_secs(253_370_764_800);

/// Commands for one round trip, and their destination.
pub(super) struct Call {
    pub(super) pipeline: Pipeline,
    pub(super) route: Route,
    /// The same with the script's source, for a server that does not know the script yet.
    pub(super) with_source: Option<Pipeline>,
    /// Whether the call may be sent again if it may have been carried out.
    pub(super) repeatable: bool,
}

pub(super) enum Route {
    /// The owner of this Redis key.
    Key(Vec<u8>),
    Server(Address),
}

/// The values that Redis replied with. None is an error.
pub(super) struct Reply {
    pub(super) values: Vec<Value>,
    /// Whether the call was sent twice. The first one, whose reply was lost, may have been carried out.
    pub(super) repeated: bool,
}

impl Call {
    /// `GET` with the remaining time.
    pub(super) fn get(name: &str) -> Self {
        let mut pipeline = Pipeline::new();
        let _ = pipeline.cmd("GET").arg(name).cmd("PTTL").arg(name);
        Self { pipeline, route: Route::Key(name.into()), with_source: None, repeatable: true }
    }

    /// A command on one key.
    pub(super) fn on_key(command: &str, name: &str, arguments: &[&[u8]]) -> Self {
        let parts = [&[command.as_bytes(), name.as_bytes()], arguments].concat();
        let (pipeline, route) = (pipeline(&parts), Route::Key(name.into()));
        Self { pipeline, route, with_source: None, repeatable: true }
    }

    /// A command to one server.
    pub(super) fn to_server(server: Address, command: &[&[u8]]) -> Self {
        let (pipeline, route) = (pipeline(command), Route::Server(server));
        Self { pipeline, route, with_source: None, repeatable: true }
    }

    /// Compares and sets (see [`REPLACE`]). Repeatable only if it changes neither value nor key: a second
    /// attempt could undo what another writer has stored since the first.
    pub(super) fn replace(names: &[String], arguments: &[&[u8]]) -> Self {
        let eval = |command: &str, script: &str| {
            let mut pipeline = Pipeline::new();
            let _ = pipeline.cmd(command).arg(script).arg(names.len()).arg(names).arg(arguments);
            pipeline
        };
        let hash: String = Sha1::digest(REPLACE).iter().map(|byte| format!("{byte:02x}")).collect();
        let route = Route::Key(names.first().map_or_else(Vec::new, |name| name.as_bytes().to_vec()));
        let repeatable = names.len() == 1 && arguments.len() == 2;
        let with_source = Some(eval("EVAL", REPLACE));
        Self { pipeline: eval("EVALSHA", &hash), route, with_source, repeatable }
    }
}

/// A pipeline of one command.
pub(super) fn pipeline(command: &[&[u8]]) -> Pipeline {
    let mut pipeline = Pipeline::new();
    let _ = pipeline.add_command(Cmd::new().arg(command).to_owned());
    pipeline
}

/// `KEYS`: the key, and the new key if it changes. `ARGV`: the expected value, milliseconds to live (0:
/// expired), and the new value if it changes.
///
/// Returns 1 if done, 0 if the key does not exist, 2 if the new key is taken; otherwise the value and its
/// remaining time. `SET` comes before `DEL`, so that a user without the right to `SET` loses nothing.
const REPLACE: &str = "\
local value = redis.call('GET', KEYS[1])
if not value then return 0 end
if value ~= ARGV[1] then return {value, redis.call('PTTL', KEYS[1])} end
if KEYS[2] and redis.call('EXISTS', KEYS[2]) == 1 then return 2 end
local live = tonumber(ARGV[2]) > 0
if live then redis.call('SET', KEYS[2] or KEYS[1], ARGV[3] or ARGV[1], 'PX', ARGV[2]) end
if KEYS[2] or not live then redis.call('DEL', KEYS[1]) end
return 1";

/// Reads the reply to [`Call::replace`]; `None` if it has another form.
pub(super) fn replaced(values: Vec<Value>) -> Option<Replaced> {
    match <[Value; 1]>::try_from(values).ok()? {
        [Value::Int(1)] => Some(Replaced::Done),
        [Value::Int(0)] => Some(Replaced::Gone),
        [Value::Int(2)] => Some(Replaced::KeyTaken),
        [Value::Array(row)] => row_of(row)?.map(Replaced::Conflict),
        _ => None,
    }
}

/// Reads the reply to [`Call::get`]; `None` if it has another form.
pub(super) fn row_of(values: Vec<Value>) -> Option<Option<Row>> {
    let never = SystemTime::UNIX_EPOCH + NEVER;
    match <[Value; 2]>::try_from(values).ok()? {
        // The second one: it expired between the two commands.
        [Value::Nil, Value::Int(_)] | [Value::BulkString(_), Value::Int(-2)] => Some(None),
        [Value::BulkString(value), Value::Int(-1)] => Some(Some(Row::new(value, never))),
        [Value::BulkString(value), Value::Int(left)] => {
            let left = Duration::from_millis(u64::try_from(left).ok()?);
            let expires = SystemTime::now().checked_add(left);
            Some(Some(Row::new(value, expires.unwrap_or(never))))
        }
        _ => None,
    }
}

/// Returns the time from now to `expires`, rounded up so that a live value does not expire at once. 0 if it
/// is over.
pub(super) fn milliseconds(expires: SystemTime) -> u64 {
    let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
    // The sum with the current time must fit into 63 bits.
    left.as_nanos().div_ceil(1_000_000).min(1 << 60) as u64
}
