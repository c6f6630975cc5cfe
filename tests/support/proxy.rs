//! Something between a client and a server on 127.0.0.1 that does to their connections what networks do.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU16, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

/// Forwards everything until a test says otherwise; stops when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    server: AtomicU16,
    /// Milliseconds that each piece is held up, in both directions.
    delay: AtomicU64,
    /// Takes everything and passes nothing on.
    black_hole: AtomicBool,
    /// Hangs up at once.
    refuses: AtomicBool,
    /// Bytes that the server may still say before all is cut; negative: any number.
    left: AtomicI64,
    /// The next piece of this side is lost, and what comes of that.
    lose: Mutex<Losing>,
    open: Mutex<Vec<TcpStream>>,
    ended: AtomicBool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Losing {
    #[default]
    Nothing,
    /// After so many pieces of this side.
    Next(Side, usize),
    /// It is lost, and the connections are still open.
    Lost,
}

/// One side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

impl Proxy {
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            server: server.into(),
            delay: 0.into(),
            black_hole: false.into(),
            refuses: false.into(),
            left: (-1).into(),
            lose: Mutex::default(),
            open: Mutex::default(),
            ended: false.into(),
        });
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.ended.load(SeqCst) {
                    return;
                }
                shared.take(client);
            }
        });
        Self { port, state }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on all goes to another server.
    pub fn lead_to(&self, server: u16) {
        self.state.server.store(server, SeqCst);
    }

    pub fn delay(&self, delay: Duration) {
        self.state.delay.store(delay.as_millis() as u64, SeqCst);
    }

    pub fn black_hole(&self, yes: bool) {
        self.state.black_hole.store(yes, SeqCst);
    }

    pub fn refuse(&self, yes: bool) {
        self.state.refuses.store(yes, SeqCst);
    }

    /// Passes on so many more bytes of what the server says, and then cuts all connections.
    pub fn truncate(&self, bytes: usize) {
        self.state.left.store(bytes as i64, SeqCst);
    }

    /// Loses the next thing that this side says: a request, or a reply.
    pub fn lose(&self, side: Side) {
        self.lose_after(0, side);
    }

    /// The same for a later one.
    pub fn lose_after(&self, passed: usize, side: Side) {
        *self.state.lose.lock().unwrap() = Losing::Next(side, passed);
    }

    /// Waits until that has happened. The connections stay open until they are cut.
    pub async fn lost(&self) {
        while *self.state.lose.lock().unwrap() != Losing::Lost {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Cuts all connections that are open.
    pub fn cut(&self) {
        self.state.cut();
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.state.open.lock().unwrap().len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, SeqCst);
        self.state.cut();
        TcpStream::connect(("127.0.0.1", self.port)).ok(); // wakes the listener
    }
}

impl State {
    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    fn loses(&self, of_the_server: bool) -> bool {
        let side = if of_the_server { Side::Server } else { Side::Client };
        let mut lose = self.lose.lock().unwrap();
        match *lose {
            Losing::Next(of, 0) if of == side => *lose = Losing::Lost,
            Losing::Next(of, passed) if of == side => {
                *lose = Losing::Next(of, passed - 1);
                return false;
            }
            _ => return false,
        }
        true
    }

    fn take(self: &Arc<Self>, client: TcpStream) {
        if self.refuses.load(SeqCst) {
            return;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.server.load(SeqCst))) else { return };
        for stream in [&client, &server] {
            stream.set_nodelay(true).ok();
        }
        self.open.lock().unwrap().push(client.try_clone().unwrap());
        let pair =
            [(client.try_clone().unwrap(), server.try_clone().unwrap(), false), (server, client, true)];
        for (from, to, of_the_server) in pair {
            let state = self.clone();
            thread::spawn(move || state.pass(from, to, of_the_server));
        }
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream, of_the_server: bool) {
        let mut piece = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            thread::sleep(Duration::from_millis(self.delay.load(SeqCst)));
            if self.black_hole.load(SeqCst) || self.loses(of_the_server) {
                continue;
            }
            let mut length = length;
            let left = self.left.load(SeqCst);
            if of_the_server && left >= 0 {
                length = length.min(left as usize);
                self.left.store(left - length as i64, SeqCst);
            }
            if to.write_all(&piece[..length]).is_err() {
                break;
            }
            if of_the_server && left >= 0 && self.left.load(SeqCst) == 0 {
                self.left.store(-1, SeqCst);
                self.cut();
            }
        }
        for stream in [&from, &to] {
            stream.shutdown(Shutdown::Both).ok();
        }
        let peer = if of_the_server { to.peer_addr() } else { from.peer_addr() };
        if let Ok(peer) = peer {
            self.open.lock().unwrap().retain(|open| open.peer_addr().is_ok_and(|other| other != peer));
        }
    }
}
