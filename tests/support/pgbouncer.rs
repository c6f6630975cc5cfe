//! PgBouncer in front of a PostgreSQL.

use std::fs;

use super::{
    postgres::as_server_user,
    proc::{self, Group, TempDir},
    required,
};

/// In transaction mode, which is what people have it for; stops with this.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    // In this order: the server ends before its files go.
    _group: Group,
    _dir: TempDir,
}

impl PgBouncer {
    /// In front of the server at this port, with such settings as `("default_pool_size", "2")`.
    pub fn start(server: u16, settings: &[(&str, &str)]) -> Self {
        let (dir, port) = (TempDir::new("pgbouncer"), proc::free_port());
        let mut text = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = trust\nauth_file = users\npool_mode = transaction\nunix_socket_dir =\n"
        );
        for (name, value) in settings {
            text.push_str(&format!("{name} = {value}\n"));
        }
        for (name, text) in [("pgbouncer.ini", &*text), ("users", "\"postgres\" \"\"\n")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let mut command = as_server_user(required("TEST_PGBOUNCER").as_ref(), dir.path());
        command.arg("pgbouncer.ini");
        let mut group = Group::start("PgBouncer", &mut command, &dir.path().join("log"));
        group.wait_for_port(port);
        Self { port, _group: group, _dir: dir }
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}
