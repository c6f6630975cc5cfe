//! A connection to one server, which many callers use at the same time.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, RedisConnectionInfo, Value, aio::MultiplexedConnection,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::AbortHandle,
};

use super::{
    error::CallError,
    stream::{Address, BoundedStream, ByteStream, connect_unix},
    url::RedisConfig,
};

/// A connection that has logged in. Cheap to clone; closed with its last clone.
#[derive(Clone)]
pub(super) struct Connection {
    redis: MultiplexedConnection,
    driver: Arc<Driver>,
}

/// The task that reads and writes. It belongs to the runtime that opened the connection.
struct Driver {
    task: AbortHandle,
    retired: AtomicBool,
    /// The number of bytes that were written to the server.
    written: Arc<AtomicU64>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Connects and logs in. `login` is false for sentinels, which often have no password.
    pub(super) async fn open(config: &RedisConfig, server: &Address, login: bool) -> Result<Self, CallError> {
        let unreachable = |error| CallError::Unreachable(server.clone(), error);
        let stream: Box<dyn ByteStream> = match server {
            Address::Unix(path) => connect_unix(path).await.map_err(unreachable)?,
            Address::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
                stream.set_nodelay(true).map_err(unreachable)?;
                match &config.tls {
                    Some(tls) => {
                        let encrypted = tls.connect(host, stream).await;
                        encrypted.map_err(|error| CallError::Tls(server.clone(), error))?
                    }
                    None => Box::new(stream),
                }
            }
        };
        let mut stream = BoundedStream::new(stream);
        let written = stream.written();
        handshake(&mut stream, config, server, login).await?;
        // Timeouts are the caller's, and the handshake has logged in.
        let driver_config = AsyncConnectionConfig::new().set_response_timeout(None);
        let bare = RedisConnectionInfo::default().set_skip_set_lib_name();
        let (redis, driver) = MultiplexedConnection::new_with_config(&bare, stream, driver_config)
            .await
            .map_err(|error| CallError::NotSent(server.clone(), io::Error::other(error.to_string())))?;
        let task = tokio::spawn(driver).abort_handle();
        Ok(Self { redis, driver: Arc::new(Driver { task, retired: AtomicBool::new(false), written }) })
    }

    /// One round trip. Error replies are among the values.
    ///
    /// With `asking`, the server also serves slots that are being moved to it.
    ///
    /// Errors with [`NotSent`](CallError::NotSent) if certainly no byte of the commands was sent.
    pub(super) async fn send(
        &self,
        server: &Address,
        pipeline: &Pipeline,
        asking: bool,
    ) -> Result<Vec<Value>, CallError> {
        let mut commands = Pipeline::new();
        for command in pipeline.cmd_iter().filter(|_| asking) {
            let _ = commands.cmd("ASKING").add_command(command.clone());
        }
        let commands = if asking { &commands } else { pipeline };
        let written = || self.driver.written.load(Ordering::Acquire);
        let before = written();
        let failure = match self.redis.clone().send_packed_commands(commands, 0, commands.len()).await {
            Ok(values) if values.len() == commands.len() && asking => {
                return Ok(values.into_iter().skip(1).step_by(2).collect());
            }
            Ok(values) if values.len() == commands.len() => return Ok(values),
            Ok(_) => CallError::Malformed(server.clone()),
            Err(error) => match error.kind() {
                ErrorKind::Io => {
                    let error = io::Error::other(error.to_string());
                    let failure = if written() == before { CallError::NotSent } else { CallError::Lost };
                    failure(server.clone(), error)
                }
                _ => CallError::Malformed(server.clone()),
            },
        };
        self.retire();
        Err(failure)
    }

    /// Excludes the connection from new calls. Calls in flight may go on.
    pub(super) fn retire(&self) {
        self.driver.retired.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.driver.retired.load(Ordering::Relaxed) && !self.driver.task.is_finished()
    }
}

/// Logs in, one command after the other: a server may reject with its first reply and close.
async fn handshake(
    stream: &mut BoundedStream,
    config: &RedisConfig,
    server: &Address,
    login: bool,
) -> Result<(), CallError> {
    let mut commands = Vec::new();
    if let Some(password) = config.password.as_ref().filter(|_| login) {
        commands.push(Cmd::new().arg("AUTH").arg(config.user.as_ref()).arg(password).get_packed_command());
    }
    if config.db != 0 && login {
        commands.push(Cmd::new().arg("SELECT").arg(config.db).get_packed_command());
    }
    let required = commands.len();
    // For CLIENT LIST. Some users may not.
    commands.push(Cmd::new().arg("CLIENT").arg("SETNAME").arg("actix-django-session").get_packed_command());
    for (index, command) in commands.into_iter().enumerate() {
        let lost = |error| CallError::NotSent(server.clone(), error);
        stream.write_all(&command).await.map_err(lost)?;
        let line = read_line(stream).await.map_err(lost)?;
        match line.split_at_checked(1) {
            Some(("-", error)) if index < required || closes(error) => {
                return Err(CallError::Rejected(error.into()));
            }
            Some(("+" | "-", _)) => {}
            _ => return Err(CallError::Malformed(server.clone())),
        }
    }
    Ok(())
}

/// Reads no byte more: what follows belongs to the driver.
async fn read_line(stream: &mut BoundedStream) -> io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") && line.len() < 1024 {
        line.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// Whether the server closes the connection after this error.
fn closes(error: &str) -> bool {
    error.starts_with("DENIED") || error.contains("max number of clients")
}
