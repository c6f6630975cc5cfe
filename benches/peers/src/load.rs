//! The load: clients that ask as fast as they are answered, in one thread, and check every answer.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::Sender,
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{Result, client::Client, content, cookies::Anybody, workload::Workload};

/// A turn of one contender.
#[derive(Clone, Debug)]
pub struct Turn {
    pub port: u16,
    pub workload: Workload,
    pub clients: usize,
    /// Whether visitors have a session to begin with.
    pub session: bool,
    /// Bytes of cart in it.
    pub bytes: usize,
    /// Sessions of which each request takes any, instead of one of the visitor's own.
    pub anybody: Option<Arc<Anybody>>,
    /// How long a visitor rests between an answer and the next request.
    pub rest: Duration,
    /// Before anything is counted.
    pub warm_up: Duration,
    pub time: Duration,
}

/// When requests are counted.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub begin: Instant,
    pub end: Instant,
}

/// The observations of a turn.
#[derive(Debug, Default)]
pub struct Seen {
    /// Right answers that came inside the window: the times that they took, in microseconds.
    pub micros: Vec<u32>,
    /// Wrong answers and none at all, with the number of times.
    pub errors: BTreeMap<String, u64>,
    /// Increments that were confirmed and are not there, where visitors share sessions.
    pub lost: Option<i64>,
}

// A server that has not answered for so long after the end never will.
const GRACE: Duration = Duration::from_secs(10);

/// The highest count that a reply confirmed, of each session that anybody takes.
type Counts = Arc<[AtomicU64]>;

struct Visitor {
    client: Client,
    user: String,
    count: u64,
    seen: Seen,
}

/// Runs a turn, and tells as soon as it is known when requests are counted.
pub fn run(turn: &Turn, window: &Sender<Window>) -> Result<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut visitors = Vec::new();
        for n in 0..turn.clients {
            visitors.push(Visitor::arrive(turn, n).await?);
        }
        if turn.workload == Workload::Hot {
            let (cookie, user) = (visitors[0].client.cookie.clone(), visitors[0].user.clone());
            for visitor in &mut visitors {
                visitor.client.cookie.clone_from(&cookie);
                visitor.user.clone_from(&user);
            }
        }
        let begin = Instant::now() + turn.warm_up;
        let counted = Window { begin, end: begin + turn.time };
        window.send(counted)?;
        let mut tasks = JoinSet::new();
        let sessions = turn
            .anybody
            .as_ref()
            .filter(|anybody| anybody.in_order)
            .map_or(0, |anybody| anybody.cookies.len());
        let counts: Counts = (0..sessions).map(|_| AtomicU64::new(0)).collect();
        for visitor in visitors {
            tasks.spawn(visitor.stay(turn.clone(), counted, counts.clone()));
        }
        let mut visitors = Vec::new();
        let deadline = tokio::time::Instant::from_std(counted.end + GRACE);
        let late = tokio::time::timeout_at(deadline, async {
            while let Some(visitor) = tasks.join_next().await {
                visitors.extend(visitor);
            }
        });
        let late = late.await.is_err();
        let mut seen = Seen::default();
        if late {
            seen.errors.insert("no answer".to_owned(), (turn.clients - visitors.len()) as u64);
        }
        check_the_end(turn, &mut visitors, &mut seen).await?;
        for visitor in visitors {
            seen.micros.extend(visitor.seen.micros);
            seen.lost = seen.lost.into_iter().chain(visitor.seen.lost).reduce(|sum, lost| sum + lost);
            for (error, times) in visitor.seen.errors {
                *seen.errors.entry(error).or_default() += times;
            }
        }
        Ok(seen)
    })
}

/// Looks whether the sessions are what their visitors were told.
async fn check_the_end(turn: &Turn, visitors: &mut [Visitor], seen: &mut Seen) -> Result<()> {
    if turn.anybody.is_some() {
        return Ok(());
    }
    match turn.workload {
        Workload::Hot => {
            let told: u64 = visitors.iter().map(|visitor| visitor.count).sum();
            if let Some(visitor) = visitors.first_mut() {
                let answer = visitor.client.ask("GET", "/read").await?;
                let there = answer.body.rsplit(' ').next().and_then(|count| count.parse::<i64>().ok());
                let there = there.ok_or("the hot session cannot be read")?;
                seen.lost = Some(i64::try_from(told)? - there);
            }
        }
        Workload::Read | Workload::User | Workload::Write | Workload::Create => {
            for visitor in visitors {
                let expected = format!("{} {}", visitor.user, visitor.count);
                let answer = visitor.client.ask("GET", "/read").await?;
                if answer.body != expected {
                    let wrong = format!("at the end {} {:?}, not {expected:?}", answer.status, answer.body);
                    *seen.errors.entry(wrong).or_default() += 1;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

impl Seen {
    /// Whether it is the session of user n that was incremented. A count that others were told before the
    /// request is an increment that was lost.
    fn count(&mut self, body: &str, n: usize, told: &AtomicU64, before: u64) -> bool {
        let Some((user, count)) = body.split_once(' ') else { return false };
        let (Ok(user), Ok(count)) = (user.parse::<usize>(), count.parse::<u64>()) else { return false };
        *self.lost.get_or_insert_default() += i64::from(count <= before);
        told.fetch_max(count, Ordering::Relaxed);
        user == n
    }
}

impl Turn {
    /// Visitors who have a session of their own, or none, and ask without a rest.
    pub fn new(port: u16, workload: Workload, clients: usize, time: Duration) -> Self {
        let (session, rest) = (workload != Workload::Create, Duration::ZERO);
        Self { port, workload, clients, session, bytes: 0, anybody: None, rest, warm_up: time / 5, time }
    }
}

impl Visitor {
    /// Comes, and gets a session if it takes one to begin with.
    async fn arrive(turn: &Turn, n: usize) -> Result<Self> {
        let mut client = Client::connect(turn.port).await?;
        let user = (content::FIRST_USER + n).to_string();
        if turn.session && turn.anybody.is_none() {
            let answer = client.ask("POST", &format!("/create/{user}/{}", turn.bytes)).await?;
            if answer.status != 200 || answer.body != format!("{user} 0") || !answer.set_cookie {
                return Err(format!("create answers {} {:?}", answer.status, answer.body).into());
            }
        }
        Ok(Self { client, user, count: 0, seen: Seen::default() })
    }

    async fn stay(mut self, turn: Turn, window: Window, counts: Counts) -> Self {
        let workload = turn.workload;
        let (method, path) = match workload {
            Workload::Write | Workload::WriteAny | Workload::Hot => ("POST", "/write".to_owned()),
            Workload::Create => ("POST", format!("/create/{}/0", self.user)),
            Workload::Untouched => ("GET", "/untouched".to_owned()),
            Workload::User => ("GET", "/user".to_owned()),
            _ => ("GET", "/read".to_owned()),
        };
        let mut expected = String::new();
        loop {
            let start = Instant::now();
            if start >= window.end {
                return self;
            }
            if workload == Workload::Create {
                self.client.cookie.clear();
            }
            let mut known = None;
            if let Some(Anybody { cookies, .. }) = turn.anybody.as_deref() {
                let n = rand::random_range(0..cookies.len());
                self.client.cookie.clone_from(&cookies[n]);
                known = counts.get(n).map(|count| (n, count, count.load(Ordering::Relaxed)));
            }
            let counting = matches!(workload, Workload::Write | Workload::Hot);
            if expected.is_empty() || counting {
                expected.clear();
                match workload {
                    Workload::Untouched => expected.push_str("ok"),
                    Workload::User => expected = format!("user{}", self.user),
                    // It is unknown which request failed.
                    Workload::Hot => expected.push_str(&self.user),
                    _ => expected = format!("{} {}", self.user, self.count + u64::from(counting)),
                }
            }
            let wrong = match self.client.ask(method, &path).await {
                Ok(answer) => {
                    let body = match workload {
                        Workload::Hot => answer.body.split(' ').next().unwrap_or_default(),
                        _ => answer.body,
                    };
                    let told = match known {
                        Some((n, count, before)) => self.seen.count(body, n, count, before),
                        None => body == expected || turn.anybody.is_some(),
                    };
                    let right =
                        answer.status == 200 && told && (answer.set_cookie || workload != Workload::Create);
                    (!right).then(|| format!("{} {:?}", answer.status, answer.body))
                }
                Err(error) => Some(error.to_string()),
            };
            let end = Instant::now();
            match wrong {
                None => {
                    self.count += u64::from(counting);
                    if !turn.rest.is_zero() {
                        tokio::time::sleep(turn.rest).await;
                    }
                    if (window.begin..=window.end).contains(&end) {
                        self.seen.micros.push(u32::try_from((end - start).as_micros()).unwrap_or(u32::MAX));
                    }
                }
                Some(wrong) => {
                    *self.seen.errors.entry(wrong).or_default() += 1;
                    // The rest that a failing server left on the connection is not the next reply.
                    if self.client.connect_again().await.is_err() {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            }
        }
    }
}
