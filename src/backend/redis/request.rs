//! What is asked of Redis: commands, scripts, and how their answers are read.

use std::time::{Duration, SystemTime};

use redis::{Pipeline, Value};
use sha1::{Digest as _, Sha1};

use super::{
    super::{Entry, Replaced},
    server::Address,
};

/// What is sent in one round trip, and where to.
pub(super) struct Request {
    pub(super) commands: Pipeline,
    pub(super) place: Place,
    /// The same, for a server that does not know the script yet.
    pub(super) with_script: Option<Pipeline>,
}

pub(super) enum Place {
    /// The owner of this key.
    Key(Vec<u8>),
    /// This one.
    Server(Address),
}

impl Request {
    /// A `GET` with the time that is left.
    pub(super) fn get(key: &str) -> Self {
        let mut commands = Pipeline::new();
        let _ = commands.cmd("GET").arg(key).cmd("PTTL").arg(key);
        Self { commands, place: key.into(), with_script: None }
    }

    /// One command about one key.
    pub(super) fn about(key: &str, command: &str, arguments: &[&[u8]]) -> Self {
        let mut commands = Pipeline::new();
        let _ = commands.cmd(command).arg(key).arg(arguments);
        Self { commands, place: key.into(), with_script: None }
    }

    /// One command to one server.
    pub(super) fn to(server: Address, command: &[&[u8]]) -> Self {
        Self { commands: commands(command), place: Place::Server(server), with_script: None }
    }

    pub(super) fn script(script: &str, keys: &[&str], arguments: &[&[u8]]) -> Self {
        let call = |command: &str, script: &str| {
            let mut call = Pipeline::new();
            let _ = call.cmd(command).arg(script).arg(keys.len()).arg(keys).arg(arguments);
            call
        };
        let place = keys.first().map_or(Place::Key(Vec::new()), |key| (*key).into());
        Self { commands: call("EVALSHA", &hash(script)), place, with_script: Some(call("EVAL", script)) }
    }
}

impl From<&str> for Place {
    fn from(key: &str) -> Self {
        Self::Key(key.as_bytes().to_vec())
    }
}

/// A pipeline of one.
pub(super) fn commands(command: &[&[u8]]) -> Pipeline {
    let mut commands = Pipeline::new();
    if let Some((name, arguments)) = command.split_first() {
        let _ = commands.add_command(redis::Cmd::new().arg(name).arg(arguments).to_owned());
    }
    commands
}

/// How Redis knows a script.
fn hash(script: &str) -> String {
    Sha1::digest(script).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `ARGV`: what must be there, what to store, milliseconds (nothing is stored if they are over).
///
/// 1 done, 0 gone, otherwise what is there and how long.
pub(super) const REPLACE: &str = "\
local now = redis.call('GET', KEYS[1])
if not now then return 0 end
if now ~= ARGV[1] then return {now, redis.call('PTTL', KEYS[1])} end
if tonumber(ARGV[3]) > 0 then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
else
  redis.call('DEL', KEYS[1])
end
return 1";

/// As `REPLACE`, to the second key; 2 if that is taken.
pub(super) const RENAME: &str = "\
local now = redis.call('GET', KEYS[1])
if not now then return 0 end
if now ~= ARGV[1] then return {now, redis.call('PTTL', KEYS[1])} end
if redis.call('EXISTS', KEYS[2]) == 1 then return 2 end
if tonumber(ARGV[3]) > 0 then
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
end
redis.call('DEL', KEYS[1])
return 1";

/// What a script says. None if it is none of that.
pub(super) fn replaced(answer: Vec<Value>) -> Option<Replaced> {
    match <[Value; 1]>::try_from(answer).ok()? {
        [Value::Int(1)] => Some(Replaced::Done),
        [Value::Int(0)] => Some(Replaced::Gone),
        [Value::Int(2)] => Some(Replaced::Taken),
        [Value::Array(entry)] => entry_of(entry)?.map(Replaced::Changed),
        _ => None,
    }
}

/// From a value and its milliseconds. None if it is not that.
pub(super) fn entry_of(answer: Vec<Value>) -> Option<Option<Entry>> {
    match <[Value; 2]>::try_from(answer).ok()? {
        // It ended between the two commands.
        [Value::Nil, Value::Int(_)] | [Value::BulkString(_), Value::Int(-2)] => Some(None),
        [Value::BulkString(value), Value::Int(-1)] => Some(Some(Entry::endless(value))),
        [Value::BulkString(value), Value::Int(left)] => {
            let left = Duration::from_millis(u64::try_from(left).ok()?);
            let expires = SystemTime::now().checked_add(left);
            Some(Some(match expires {
                Some(expires) => Entry { value: value.into(), expires },
                None => Entry::endless(value),
            }))
        }
        _ => None,
    }
}

/// From now to then, rounded up, so that what has not ended does not end at once. 0 if it has.
pub(super) fn milliseconds(expires: SystemTime) -> u64 {
    let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
    // Redis takes no more than fits with today's date into 63 bits.
    left.as_nanos().div_ceil(1_000_000).min(1 << 60) as u64
}

/// A pattern of `SCAN` for all that begins with this.
pub(super) fn pattern(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('*');
    pattern
}
