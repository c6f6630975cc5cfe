//! One server: its address, and a connection to it that many use at once.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use redis::{
    AsyncConnectionConfig, ErrorKind, Pipeline, RedisConnectionInfo, Value, aio::MultiplexedConnection,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    task::AbortHandle,
};

use super::{error::Failure, url::Target};

/// What a server may send without being asked more: Redis's own limit for one value.
const MOST_UNASKED: usize = 512 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Address {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl Address {
    /// A server that another one named; without a host it is the host of that one.
    pub(super) fn relative(host: &str, port: u16, asked: &Self) -> Self {
        match asked {
            Self::Tcp(asked, _) if host.is_empty() || host == "?" => Self::Tcp(asked.clone(), port),
            _ => Self::Tcp(host.to_owned(), port),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A connection that has logged in. Cheap to clone; closed with its last clone.
#[derive(Clone)]
pub(super) struct Connection {
    redis: MultiplexedConnection,
    driver: Arc<Driver>,
}

/// The task that reads and writes. It belongs to the runtime that opened the connection.
struct Driver {
    task: AbortHandle,
    given_up: AtomicBool,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Connects and logs in. `login` is false for sentinels, which often have no password.
    pub(super) async fn open(target: &Target, server: &Address, login: bool) -> Result<Self, Failure> {
        let away = |error| Failure::Away(server.clone(), error);
        let stream: Box<dyn Stream> = match server {
            Address::Unix(path) => unix(path).await.map_err(away)?,
            Address::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(away)?;
                stream.set_nodelay(true).map_err(away)?;
                match &target.tls {
                    Some(tls) => {
                        let encrypted = tls.connect(host, stream).await;
                        encrypted.map_err(|error| Failure::Tls(server.clone(), error))?
                    }
                    None => Box::new(stream),
                }
            }
        };
        // Everything has our own deadline, and we log in ourselves to see what is wrong with it.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let bare = RedisConnectionInfo::default().set_skip_set_lib_name();
        let mut stream = Limited { stream, unasked: 0 };
        greet(&mut stream, target, server, login).await?;
        let (redis, driver) = MultiplexedConnection::new_with_config(&bare, stream, config)
            .await
            .map_err(|error| transport(server, &error))?;
        let task = tokio::spawn(driver).abort_handle();
        let driver = Arc::new(Driver { task, given_up: AtomicBool::new(false) });
        Ok(Self { redis, driver })
    }

    /// One round trip. Refusals are among the values.
    pub(super) async fn send(&self, server: &Address, commands: &Pipeline) -> Result<Vec<Value>, Failure> {
        let sent = self.redis.clone().send_packed_commands(commands, 0, commands.len()).await;
        let answers = sent.map_err(|error| {
            self.give_up();
            transport(server, &error)
        })?;
        if answers.len() == commands.len() {
            return Ok(answers);
        }
        self.give_up();
        Err(Failure::Nonsense(server.clone()))
    }

    /// Nobody new is to use it; whoever waits for an answer may go on.
    pub(super) fn give_up(&self) {
        self.driver.given_up.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.driver.given_up.load(Ordering::Relaxed) && !self.driver.task.is_finished()
    }
}

#[cfg(unix)]
async fn unix(path: &Path) -> io::Result<Box<dyn Stream>> {
    Ok(Box::new(tokio::net::UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
#[allow(clippy::unused_async)] // as on Unix
async fn unix(_: &Path) -> io::Result<Box<dyn Stream>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Logs in, one command after the other: a server that wants nobody says so in place of its first answer, and
/// hangs up.
async fn greet(stream: &mut Limited, target: &Target, server: &Address, login: bool) -> Result<(), Failure> {
    let mut greeting = Vec::new();
    if let Some(password) = target.password.as_ref().filter(|_| login) {
        greeting.push(redis::cmd("AUTH").arg(target.user.as_ref()).arg(password).get_packed_command());
    }
    if target.db != 0 && login {
        greeting.push(redis::cmd("SELECT").arg(target.db).get_packed_command());
    }
    let must = greeting.len();
    // For who looks at CLIENT LIST. Not everybody may.
    greeting.push(redis::cmd("CLIENT").arg("SETNAME").arg("actix-django-session").get_packed_command());
    for (at, command) in greeting.into_iter().enumerate() {
        let lost = |error| Failure::Lost(server.clone(), error);
        stream.write_all(&command).await.map_err(lost)?;
        let line = line(stream).await.map_err(lost)?;
        match line.split_at_checked(1) {
            Some(("+", _)) => {}
            Some(("-", error)) if at < must || is_final(error) => {
                return Err(Failure::Refused(error.into()));
            }
            Some(("-", _)) => {}
            _ => return Err(Failure::Nonsense(server.clone())),
        }
    }
    Ok(())
}

/// Not one byte more: what comes after is for others.
async fn line(stream: &mut Limited) -> io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") && line.len() < 1024 {
        line.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// It is followed by the end of the connection.
fn is_final(error: &str) -> bool {
    error.starts_with("DENIED") || error.contains("max number of clients")
}

fn transport(server: &Address, error: &redis::RedisError) -> Failure {
    match error.kind() {
        ErrorKind::Io => Failure::Lost(server.clone(), io::Error::other(error.to_string())),
        _ => Failure::Nonsense(server.clone()),
    }
}

/// Anything that bytes go through.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A stream that ends when the other side sends and sends: an answer is held in memory until it is complete.
struct Limited {
    stream: Box<dyn Stream>,
    unasked: usize,
}

impl AsyncRead for Limited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unasked > MOST_UNASKED {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.unasked += buf.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Limited {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.unasked = 0;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
