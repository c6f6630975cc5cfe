//! A Redis of the benchmark's own, without persistence: what actix-session's users mostly run.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::Path,
    process::Command,
};

use crate::{
    Result, content,
    process::{self, Server},
};

#[derive(Debug)]
pub struct Redis {
    server: Server,
    port: u16,
}

impl Redis {
    pub fn start(dir: &Path) -> Result<Self> {
        let port = process::free_port()?;
        let mut redis = Command::new("redis-server");
        redis.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        redis.current_dir(dir);
        let server = Server::start("Redis", &redis, &dir.join("redis.log"), "TERM", None)?;
        server.wait_for_port(port)?;
        Ok(Self { server, port })
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Empties it, and puts so many sessions of the usual size there.
    pub fn fill(&self, rows: usize) -> Result<()> {
        let value = format!(
            r#"{{"{}":"\"123456\"","{}":"\"{}\"","{}":"\"{}\"","{}":"0"}}"#,
            content::USER,
            content::BACKEND,
            content::BACKEND_VALUE,
            content::HASH,
            content::HASH_VALUE,
            content::COUNTER,
        );
        let script = "redis.call('FLUSHALL') for i = 1, tonumber(ARGV[1]) do \
                      redis.call('SET', redis.sha1hex(i), ARGV[2], 'EX', 1209600) end return 'done'";
        let answer = self.command(&["EVAL", script, "0", &rows.to_string(), &value])?;
        if answer.starts_with('-') { Err(format!("Redis: {answer}").into()) } else { Ok(()) }
    }

    /// Redis's version.
    pub fn version(&self) -> Result<String> {
        let mut stream = self.send(&["INFO", "server"])?;
        let mut line = String::new();
        while stream.read_line(&mut line)? > 0 {
            if let Some(version) = line.trim().strip_prefix("redis_version:") {
                return Ok(format!("Redis {version}"));
            }
            line.clear();
        }
        Err("Redis does not say its version".into())
    }

    /// The first line of the answer.
    fn command(&self, parts: &[&str]) -> Result<String> {
        let mut line = String::new();
        self.send(parts)?.read_line(&mut line)?;
        Ok(line)
    }

    fn send(&self, parts: &[&str]) -> Result<BufReader<TcpStream>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(process::PATIENCE))?;
        let mut request = format!("*{}\r\n", parts.len());
        for part in parts {
            request.push_str(&format!("${}\r\n{part}\r\n", part.len()));
        }
        stream.write_all(request.as_bytes())?;
        Ok(BufReader::new(stream))
    }
}
