//! Which server has which keys, as a cluster or the sentinels say; refreshed when a server fails.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::Value;

use super::{
    call::pipeline,
    connection::Connection,
    error::CallError,
    pool::ConnectionPool,
    slots::SLOTS,
    stream::Address,
    url::{Layout, RedisConfig},
};

/// The owners of all slots at one time: ranges with both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlotMap(Vec<(u16, u16, Address)>);

impl SlotMap {
    /// One server that has every slot.
    fn one(server: Address) -> Self {
        Self(vec![(0, SLOTS - 1, server)])
    }

    /// Reads the reply to `CLUSTER SLOTS`: `[[start, end, [host, port, …], replica…]…]`. `None` if it has
    /// another form.
    fn parse(reply: &Value, source: &Address) -> Option<Self> {
        let mut ranges = Vec::new();
        for range in array(reply)? {
            let [Value::Int(start), Value::Int(end), owner, ..] = array(range)? else { return None };
            let [host, Value::Int(port), ..] = array(owner)? else { return None };
            let host = match host {
                Value::BulkString(host) => str::from_utf8(host).ok()?,
                _ => "",
            };
            let owner = Address::relative(host, u16::try_from(*port).ok()?, source);
            ranges.push((u16::try_from(*start).ok()?, u16::try_from(*end).ok()?, owner));
        }
        ranges.sort_by_key(|(start, ..)| *start);
        Some(Self(ranges))
    }

    /// Returns the owner of a slot, if it has one.
    fn owner(&self, slot: u16) -> Option<&Address> {
        self.0.iter().find(|(start, end, _)| (*start..=*end).contains(&slot)).map(|(.., owner)| owner)
    }

    /// Returns each owner once, sorted.
    pub(super) fn servers(&self) -> Vec<Address> {
        let mut all: Vec<_> = self.0.iter().map(|(.., owner)| owner.clone()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Equal for equal maps.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }
}

fn array(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

#[derive(Default)]
pub(super) struct Topology {
    known: Mutex<Known>,
    /// Locked by the caller that refreshes; the others wait for its result.
    refreshing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    slots: Option<Arc<SlotMap>>,
    /// Servers that failed: others may have their slots by now.
    stale: Vec<Address>,
}

impl Topology {
    /// Returns the owners of all slots, refreshed.
    pub(super) async fn slot_map(
        &self,
        pool: &ConnectionPool,
        timeout: Duration,
    ) -> Result<Arc<SlotMap>, CallError> {
        let _refreshing = self.refreshing.lock().await;
        self.refresh(pool, timeout).await
    }

    /// Returns the owner of a slot, refreshed if the known one is stale.
    pub(super) async fn owner(
        &self,
        pool: &ConnectionPool,
        slot: u16,
        timeout: Duration,
    ) -> Result<Address, CallError> {
        if let Some(owner) = self.fresh_owner(slot) {
            return Ok(owner);
        }
        let _refreshing = self.refreshing.lock().await;
        if let Some(owner) = self.fresh_owner(slot) {
            return Ok(owner); // refreshed by another caller meanwhile
        }
        self.refresh(pool, timeout).await?.owner(slot).cloned().ok_or_else(|| {
            let text = "no server of the cluster has this key: see CLUSTER INFO and CLUSTER NODES";
            CallError::Other(text.to_owned())
        })
    }

    fn fresh_owner(&self, slot: u16) -> Option<Address> {
        let known = self.known();
        let owner = known.slots.as_ref()?.owner(slot)?;
        (!known.stale.contains(owner)).then(|| owner.clone())
    }

    async fn refresh(&self, pool: &ConnectionPool, timeout: Duration) -> Result<Arc<SlotMap>, CallError> {
        let mut failure = None;
        for server in self.sources(&pool.config) {
            // A server that does not answer must leave time for another one.
            match tokio::time::timeout(timeout / 4, fetch(pool, &server)).await {
                Ok(Ok(slots)) => {
                    let slots = Arc::new(slots);
                    *self.known() = Known { slots: Some(slots.clone()), stale: Vec::new() };
                    return Ok(slots);
                }
                Ok(Err(error)) => failure = Some(error),
                Err(_) => {
                    pool.retire(&server);
                    failure = failure.or_else(|| Some(CallError::Other(format!("{server} does not answer"))));
                }
            }
        }
        Err(failure.unwrap_or_else(|| CallError::Other("the URL names no server".to_owned())))
    }

    /// The servers that can name the owners: known ones before those of the URL, stale ones last.
    fn sources(&self, config: &RedisConfig) -> Vec<Address> {
        let known = self.known();
        let servers = known.slots.as_ref().filter(|_| config.layout == Layout::Cluster);
        let mut servers = servers.map_or_else(Vec::new, |slots| slots.servers());
        for server in &config.servers {
            if !servers.contains(server) {
                servers.push(server.clone());
            }
        }
        servers.sort_by_key(|server| known.stale.contains(server));
        servers
    }

    /// The next call for a slot of this server refreshes the owners first.
    pub(super) fn mark_stale(&self, config: &RedisConfig, server: &Address) {
        let mut known = self.known();
        if config.layout != Layout::Server && !known.stale.contains(server) {
            known.stale.push(server.clone());
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing that can panic runs while it is locked.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Queries one server for the owners.
async fn fetch(pool: &ConnectionPool, server: &Address) -> Result<SlotMap, CallError> {
    let slots = match &pool.config.layout {
        Layout::Server => Some(SlotMap::one(server.clone())),
        Layout::Cluster => {
            let connection = pool.get(server).await?;
            SlotMap::parse(&query(&connection, server, &[b"CLUSTER", b"SLOTS"]).await?, server)
        }
        Layout::Sentinel(master) => {
            let command: &[&[u8]] = &[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", master.as_bytes()];
            // Some sentinels want the password, others refuse a client that sends one.
            let reply = async |login| {
                query(&Connection::open(&pool.config, server, login).await?, server, command).await
            };
            let reply = match reply(false).await {
                Err(CallError::Rejected(rejection)) if rejection.code == "NOAUTH" => reply(true).await?,
                other => other?,
            };
            if reply == Value::Nil {
                let text = format!("the sentinel at {server} knows no master {master:?}");
                return Err(CallError::Other(text));
            }
            redis::from_redis_value(reply)
                .ok()
                .map(|(host, port): (String, u16)| SlotMap::one(Address::relative(&host, port, server)))
        }
    };
    slots.ok_or_else(|| CallError::Malformed(server.clone()))
}

async fn query(connection: &Connection, server: &Address, command: &[&[u8]]) -> Result<Value, CallError> {
    match connection.send(server, &pipeline(command), false).await?.pop() {
        Some(Value::ServerError(error)) => Err(CallError::Rejected((&error).into())),
        Some(value) => Ok(value),
        None => Err(CallError::Malformed(server.clone())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_reply_names_no_owners() {
        let source = Address::Tcp("h".to_owned(), 1);
        for malformed in [
            Value::Nil,
            Value::Array(vec![Value::Nil]),
            Value::Array(vec![Value::Array(vec![Value::Int(1), Value::Int(-2), Value::Nil])]),
            Value::Array(vec![Value::Array(vec![
                Value::Int(-1),
                Value::Int(1),
                Value::Array(vec![Value::Nil, Value::Int(99_999)]),
            ])]),
        ] {
            assert_eq!(SlotMap::parse(&malformed, &source), None);
        }
        let owner = Value::Array(vec![Value::Nil, Value::Int(7)]);
        let reply = Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(9), owner])]);
        let slots = SlotMap::parse(&reply, &source).unwrap();
        assert_eq!(slots.owner(9), Some(&Address::Tcp("h".to_owned(), 7)));
        assert_eq!(slots.owner(10), None);
    }
}
