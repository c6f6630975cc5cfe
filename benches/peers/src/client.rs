//! One keep-alive connection that speaks HTTP/1.1, with a cookie of its own. No more than the load needs.

use std::io::{Error, ErrorKind, Result};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A browser's connection.
#[derive(Debug)]
pub struct Client {
    port: u16,
    stream: TcpStream,
    /// The `name=value` that goes into requests, empty if there is none.
    pub cookie: String,
    request: Vec<u8>,
    response: Vec<u8>,
}

/// A server's reply.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    pub status: u16,
    pub body: &'a str,
    /// Whether it set a cookie; the client has it then.
    pub set_cookie: bool,
}

impl Client {
    pub async fn connect(port: u16) -> Result<Self> {
        let stream = connect(port).await?;
        let (request, response) = (Vec::with_capacity(1024), Vec::with_capacity(8192));
        Ok(Self { port, stream, cookie: String::new(), request, response })
    }

    /// After an error.
    pub async fn connect_again(&mut self) -> Result<()> {
        self.stream = connect(self.port).await?;
        Ok(())
    }

    /// Whether the server has not closed it.
    pub fn is_open(&self) -> bool {
        let nothing_to_read = self.stream.try_read(&mut [0]);
        nothing_to_read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Sends a request and waits for the whole answer.
    pub async fn ask(&mut self, method: &str, path: &str) -> Result<Answer<'_>> {
        self.request.clear();
        for part in [method, " ", path, " HTTP/1.1\r\nHost: localhost\r\n"] {
            self.request.extend_from_slice(part.as_bytes());
        }
        if !self.cookie.is_empty() {
            for part in ["Cookie: ", &self.cookie, "\r\n"] {
                self.request.extend_from_slice(part.as_bytes());
            }
        }
        let end = if method == "POST" { "Content-Length: 0\r\n\r\n" } else { "\r\n" };
        self.request.extend_from_slice(end.as_bytes());
        self.stream.write_all(&self.request).await?;

        self.response.clear();
        let head = loop {
            let start = self.response.len().saturating_sub(3);
            self.receive().await?;
            if let Some(at) = self.response[start..].windows(4).position(|four| four == b"\r\n\r\n") {
                break start + at + 4;
            }
        };
        let head_text = text(&self.response[..head])?;
        let (mut length, mut set_cookie) = (None, None);
        let mut lines = head_text.split("\r\n");
        let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok());
        let status = status.ok_or_else(|| broken("no status"))?;
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse::<usize>().ok();
            } else if name.eq_ignore_ascii_case("set-cookie") {
                set_cookie = value.trim().split(';').next();
            }
        }
        let length = length.ok_or_else(|| broken("no content-length"))?;
        let set = set_cookie.is_some();
        if let Some(cookie) = set_cookie {
            self.cookie.clear();
            self.cookie.push_str(cookie);
        }
        while self.response.len() < head + length {
            self.receive().await?;
        }
        Ok(Answer { status, body: text(&self.response[head..head + length])?, set_cookie: set })
    }

    async fn receive(&mut self) -> Result<()> {
        match self.stream.read_buf(&mut self.response).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

async fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| broken("not UTF-8"))
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// The reply parsed from these pieces.
    async fn answered(pieces: &'static [&'static str]) -> (Result<(u16, String, bool)>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            for piece in pieces {
                stream.set_nodelay(true).unwrap();
                stream.write_all(piece.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let mut client = Client::connect(port).await.unwrap();
        let answer = client.ask("GET", "/").await;
        let answer = answer.map(|answer| (answer.status, answer.body.to_owned(), answer.set_cookie));
        (answer, client.cookie)
    }

    #[tokio::test]
    async fn answers_come_in_pieces() {
        let pieces =
            &["HTTP/1.1 200 OK\r\nContent-", "Length: 5\r\nset-cookie: a=b; Path=/\r\n\r", "\nhe", "llo"];
        let (answer, cookie) = answered(pieces).await;
        assert_eq!(answer.unwrap(), (200, "hello".to_owned(), true));
        assert_eq!(cookie, "a=b");
    }

    #[tokio::test]
    async fn errors_are_errors() {
        let (answer, _) = answered(&["HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"]).await;
        assert_eq!(answer.unwrap(), (503, String::new(), false));
        for cut_short in [&["HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nno"], &["HTTP/1.1 200 OK\r\n"]] {
            assert_eq!(answered(cut_short).await.0.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        }
        assert!(answered(&["HTTP/1.1 200 OK\r\n\r\n"]).await.0.is_err());
    }
}
