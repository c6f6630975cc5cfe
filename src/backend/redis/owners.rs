//! Who has which keys: asked of a cluster or of sentinels, and again when an owner is in trouble.

use std::{
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use redis::Value;

use super::{
    client::{Client, within},
    error::Failure,
    request::commands,
    server::{Address, Connection},
    slots::Owners,
    url::Kind,
};

/// What is known of the owners of slots.
#[derive(Default)]
pub(super) struct Known {
    pub(super) owners: Option<Arc<Owners>>,
    /// Owners in trouble: they may be owners no more.
    pub(super) suspects: Vec<Address>,
}

impl Client {
    /// The owners of all slots; asked for anew unless there is nobody to ask.
    pub(super) async fn owners(&self, deadline: Duration) -> Result<Arc<Owners>, Failure> {
        if let (Kind::Server, Some(owners)) = (&self.target.kind, self.known_owners()) {
            return Ok(owners);
        }
        within(deadline, async {
            let _asking = self.asking.lock().await;
            self.ask_around(deadline).await
        })
        .await
    }

    /// What is known, unless the owner is suspect.
    pub(super) async fn owner(&self, slot: u16, deadline: Duration) -> Result<Address, Failure> {
        if let Some(owner) = self.unsuspected(slot) {
            return Ok(owner);
        }
        let _asking = self.asking.lock().await;
        if let Some(owner) = self.unsuspected(slot) {
            return Ok(owner); // somebody has asked meanwhile
        }
        self.ask_around(deadline).await?.of(slot).cloned().ok_or_else(|| {
            Failure::Other(
                "no server of the cluster has this key: see CLUSTER INFO and CLUSTER NODES".to_owned(),
            )
        })
    }

    async fn ask_around(&self, deadline: Duration) -> Result<Arc<Owners>, Failure> {
        // Those that we know first, and last of them those in trouble.
        let mut servers = match self.target.kind {
            Kind::Cluster => self.known_owners().map_or_else(Vec::new, |owners| owners.all()),
            _ => Vec::new(),
        };
        servers.extend(self.target.servers.iter().cloned());
        let mut seen = Vec::new();
        servers.retain(|server| {
            !seen.contains(server) && {
                seen.push(server.clone());
                true
            }
        });
        servers.sort_by_key(|server| self.known().suspects.contains(server));
        let mut failure = None;
        // One that does not answer must leave time for another.
        let patience = deadline / 4;
        for server in servers {
            match tokio::time::timeout(patience, self.ask_for_owners(&server)).await {
                Ok(Ok(owners)) => {
                    let owners = Arc::new(owners);
                    *self.known() = Known { owners: Some(owners.clone()), suspects: Vec::new() };
                    return Ok(owners);
                }
                Ok(Err(why)) => failure = Some(why),
                Err(_) => {
                    self.give_up(&server);
                    failure = failure.or_else(|| Some(Failure::Other(format!("{server} does not answer"))));
                }
            }
        }
        Err(failure.unwrap_or_else(|| Failure::Other("the URL names no server".to_owned())))
    }

    async fn ask_for_owners(&self, server: &Address) -> Result<Owners, Failure> {
        match &self.target.kind {
            Kind::Server => Ok(Owners::one(server.clone())),
            Kind::Cluster => {
                let connection = self.connection(server).await?;
                let answer = one(&connection, server, &[b"CLUSTER", b"SLOTS"]).await?;
                Owners::parse(&answer, server).ok_or_else(|| Failure::Nonsense(server.clone()))
            }
            Kind::Sentinel(master) => {
                let question: &[&[u8]] = &[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", master.as_bytes()];
                // Some sentinels want the password, others refuse who gives one.
                let asked = async |login| {
                    one(&Connection::open(&self.target, server, login).await?, server, question).await
                };
                let answer = match asked(false).await {
                    Err(Failure::Refused(refusal)) if refusal.code == "NOAUTH" => asked(true).await,
                    other => other,
                };
                match answer? {
                    Value::Nil => {
                        Err(Failure::Other(format!("the sentinel at {server} knows no master {master:?}")))
                    }
                    Value::Array(parts) => match &parts[..] {
                        [Value::BulkString(host), Value::BulkString(port)] => {
                            let (host, port) = (str::from_utf8(host).ok(), str::from_utf8(port).ok());
                            let port = port.and_then(|port| port.parse().ok());
                            host.zip(port)
                                .map(|(host, port)| Owners::one(Address::relative(host, port, server)))
                        }
                        _ => None,
                    }
                    .ok_or_else(|| Failure::Nonsense(server.clone())),
                    _ => Err(Failure::Nonsense(server.clone())),
                }
            }
        }
    }

    fn unsuspected(&self, slot: u16) -> Option<Address> {
        let known = self.known();
        let owner = known.owners.as_ref()?.of(slot)?;
        (!known.suspects.contains(owner)).then(|| owner.clone())
    }

    fn known_owners(&self) -> Option<Arc<Owners>> {
        self.known().owners.clone()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing that can panic runs while it is locked.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who owns what this one had is to be asked, the next time it matters.
    pub(super) fn suspect(&self, server: &Address) {
        if self.target.kind != Kind::Server {
            let mut known = self.known();
            if !known.suspects.contains(server) {
                known.suspects.push(server.clone());
            }
        }
    }
}

async fn one(connection: &Connection, server: &Address, command: &[&[u8]]) -> Result<Value, Failure> {
    match connection.send(server, &commands(command)).await?.pop() {
        Some(Value::ServerError(error)) => Err(Failure::Refused((&error).into())),
        Some(value) => Ok(value),
        None => Err(Failure::Nonsense(server.clone())),
    }
}
