//! A Redis of the benchmark's own: in memory alone, as actix-session's users mostly run it, or with each
//! write on the disk before its reply, as PostgreSQL has it.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Result,
    contender::Keeps,
    content,
    process::{self, Server},
};

/// The key of the n-th session: as long as those of actix-session.
pub fn key(n: usize) -> String {
    format!("{n:064}")
}

#[derive(Debug)]
pub struct Redis {
    server: Server,
    port: u16,
    keeps: Keeps,
}

impl Redis {
    /// Starts one that keeps its data as `keeps` says. Its files are beside PostgreSQL's, on the same disk.
    pub fn start(dir: &Path, keeps: Keeps) -> Result<Self> {
        let durable = keeps == Keeps::RedisDurable;
        let dir = dir.join(if durable { "redis-durable" } else { "redis" });
        fs::create_dir(&dir)?;
        let port = process::free_port()?;
        let mut redis = Command::new("redis-server");
        redis.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        redis.args(["--appendonly", if durable { "yes" } else { "no" }, "--appendfsync", "always"]);
        redis.current_dir(&dir);
        let server = Server::start("Redis", &redis, &dir.join("redis.log"), "TERM", None)?;
        server.wait_for_port(port)?;
        Ok(Self { server, port, keeps })
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn keeps(&self) -> Keeps {
        self.keeps
    }

    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Empties it, and puts so many sessions there: the n-th is that of user n, under [`key`].
    pub fn fill(&self, rows: usize) -> Result<()> {
        let value = format!(
            r#"{{"{}":"\"%06d\"","{}":"\"{}\"","{}":"\"{}\"","{}":"0"}}"#,
            content::USER,
            content::BACKEND,
            content::BACKEND_VALUE,
            content::HASH,
            content::HASH_VALUE,
            content::COUNTER,
        );
        let script = "redis.call('FLUSHALL') for n = 0, tonumber(ARGV[1]) - 1 do \
                      redis.call('SET', string.format('%064d', n), string.format(ARGV[2], n), 'EX', 1209600) \
                      end return 'done'";
        let answer = self.command(&["EVAL", script, "0", &rows.to_string(), &value])?;
        if answer.starts_with('-') {
            return Err(format!("Redis: {answer}").into());
        }
        if self.keeps == Keeps::RedisDurable { self.compact() } else { Ok(()) }
    }

    /// Rewrites the append-only file, so that Redis does not begin that in a turn because of the filling.
    fn compact(&self) -> Result<()> {
        self.command(&["BGREWRITEAOF"])?;
        let start = Instant::now();
        while self.info("persistence", "aof_rewrite_in_progress")? != "0"
            || self.info("persistence", "aof_rewrite_scheduled")? != "0"
        {
            if start.elapsed() > process::PATIENCE {
                return Err("Redis does not finish BGREWRITEAOF".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Redis's version.
    pub fn version(&self) -> Result<String> {
        Ok(format!("Redis {}", self.info("server", "redis_version")?))
    }

    /// A field of INFO.
    fn info(&self, section: &str, field: &str) -> Result<String> {
        let mut stream = self.send(&["INFO", section])?;
        let mut line = String::new();
        while stream.read_line(&mut line)? > 0 {
            match line.trim().split_once(':') {
                Some((name, value)) if name == field => return Ok(value.to_owned()),
                _ => line.clear(),
            }
        }
        Err(format!("Redis does not say its {field}").into())
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
