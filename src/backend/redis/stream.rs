//! A byte stream to one server, and the address of a server.

use std::{
    fmt, io,
    mem::MaybeUninit,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// How many bytes a server may send between two requests: as many as Redis permits for one value.
const MAX_UNREQUESTED: usize = 512 << 20;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Address {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl Address {
    /// A server that the server at `source` named. A missing host means the host of `source`.
    pub(super) fn relative(host: &str, port: u16, source: &Self) -> Self {
        match source {
            Self::Tcp(source, _) if host.is_empty() || host == "?" => Self::Tcp(source.clone(), port),
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

/// Anything that bytes go through.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {
    /// The socket below.
    fn socket(&self) -> SockRef<'_>;
}

impl ByteStream for TcpStream {
    fn socket(&self) -> SockRef<'_> {
        self.into()
    }
}

#[cfg(unix)]
impl ByteStream for tokio::net::UnixStream {
    fn socket(&self) -> SockRef<'_> {
        self.into()
    }
}

#[cfg(feature = "tls")]
impl ByteStream for tokio_rustls::client::TlsStream<TcpStream> {
    fn socket(&self) -> SockRef<'_> {
        self.get_ref().0.into()
    }
}

#[cfg(unix)]
pub(super) async fn connect_unix(path: &Path) -> io::Result<Box<dyn ByteStream>> {
    Ok(Box::new(tokio::net::UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
#[allow(clippy::unused_async)] // as on Unix
pub(super) async fn connect_unix(_: &Path) -> io::Result<Box<dyn ByteStream>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A stream that fails if the server sends without end: the driver keeps a reply in memory until it is
/// complete. Writes nothing to a server that has closed the connection.
pub(super) struct BoundedStream {
    stream: Box<dyn ByteStream>,
    unrequested: usize,
    written: Arc<AtomicU64>,
}

impl BoundedStream {
    pub(super) fn new(stream: Box<dyn ByteStream>) -> Self {
        Self { stream, unrequested: 0, written: Arc::default() }
    }

    /// The number of bytes written so far. Unchanged since a request was made, it proves that nothing of the
    /// request was sent.
    pub(super) fn written(&self) -> Arc<AtomicU64> {
        self.written.clone()
    }

    /// Whether the server has closed the connection. The runtime may not have noticed yet, so the system is
    /// asked. TLS can have unread bytes before the end, which hide it.
    fn is_closed(&self) -> bool {
        match self.stream.socket().peek(&mut [MaybeUninit::uninit()]) {
            Ok(bytes) => bytes == 0,
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        }
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unrequested > MAX_UNREQUESTED {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.unrequested += buf.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // A command written now would be lost, and nobody could tell whether the server has read it.
        if self.is_closed() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        self.unrequested = 0;
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.written.fetch_add(written as u64, Ordering::Release);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
