//! The script of the guide that moves a live table to partitions: nobody is logged out, nothing is lost.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    time::Duration,
};

use actix_django_session::{SessionKey, Store};
use futures_util::future::{join, join_all};

use crate::{
    support::postgres::Database,
    target::{Admin, Target, counter, create, increment, ok, open},
};

const GUIDE: &str = include_str!("../../src/guide/growing.md");

/// Sessions that nobody uses meanwhile.
const IDLE: u32 = 30_000;

const VISITORS: usize = 24;

/// The statements of the section, step by step.
fn steps() -> Vec<&'static str> {
    let (_, section) = GUIDE.split_once("\n# Move a live table to partitions\n").expect("the section");
    let section = section.split("\n# ").next().unwrap();
    let blocks = section.split("```sql\n").skip(1);
    let steps: Vec<_> = blocks.map(|block| block.split("```").next().unwrap()).collect();
    assert_eq!(steps.len(), 6, "create, mirror, copy, compare, switch, drop");
    steps
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_live_table_moves_to_partitions() {
    let database = Database::fresh();
    let owner = Target::new(database.url());
    ok("create_table", owner.store().await.create_table().await);
    // The application does not own the table.
    let role = database.url().rsplit_once('/').unwrap().1.to_owned() + "_app";
    database.query(&format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON django_session TO {role}; \
         INSERT INTO django_session SELECT md5(n::text), repeat('x', n % 300), now() + interval '7 days' \
         FROM generate_series(1, {IDLE}) n"
    ));
    let app = Target::new(database.url().replacen("postgres@", &format!("{role}@"), 1));
    let stores = [app.store().await, app.store().await];
    let traffic = Traffic::default();
    let visitors = (0..VISITORS).map(|n| traffic.visitor(&stores[n % 2]));
    let moving = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        move_it(&owner.admin().await.unwrap(), &traffic).await;
        traffic.stop.set(true);
    };
    join(join_all(visitors), moving).await;
    println!("{:?} operations", traffic.operations.get());
    let live = traffic.live.borrow().len() as u64;
    traffic.check(&stores[0]).await;
    let idle = "SELECT count(*) FROM django_session JOIN generate_series(1, 30000) n \
                ON session_key = md5(n::text) AND session_data = repeat('x', n % 300)";
    assert_eq!(database.query(idle)[0][0].as_deref(), Some(&*IDLE.to_string()), "an idle session is lost");
    let rows = owner.admin().await.unwrap().count().await;
    assert_eq!(rows, u64::from(IDLE) + live, "there are rows that nobody knows");
    assert_eq!(database.query(KIND)[0][0].as_deref(), Some("p"), "the table is partitioned");
    database.query(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

const KIND: &str = "SELECT relkind FROM pg_class WHERE oid = 'django_session'::regclass";

async fn move_it(admin: &Admin, traffic: &Traffic) {
    for (n, step) in steps().into_iter().enumerate() {
        let before = traffic.operations.get();
        let rows = loop {
            match admin.sql(step).await {
                Ok(rows) => break rows,
                // As the guide says.
                Err(error) if error.starts_with("55P03") => _ = admin.sql("ROLLBACK").await,
                Err(error) => panic!("step {n}: {error}"),
            }
        };
        if n == 3 {
            assert_eq!(rows, [[Some("0".to_owned())]], "rows that differ");
        }
        println!("step {n}: {} operations meanwhile", traffic.operations.get() - before);
        // Visitors go on after each step, also after the switch.
        let (before, mut waited) = (traffic.operations.get(), 0);
        while traffic.operations.get() < before + 500 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            waited += 1;
            assert!(waited < 6000, "after step {n} nobody is served");
        }
    }
}

/// The replies that visitors have got.
#[derive(Debug, Default)]
struct Traffic {
    stop: Cell<bool>,
    operations: Cell<u64>,
    /// The counters of live sessions.
    live: RefCell<HashMap<SessionKey, u64>>,
    /// Keys that a logout or a change of the key has ended.
    gone: RefCell<Vec<SessionKey>>,
}

impl Traffic {
    /// Nothing that a visitor does may fail.
    async fn visitor(&self, store: &Store) {
        for round in 0.. {
            let mut key = create(store).await;
            for n in 0..round % 6 {
                ok("save", increment(store, &key).await);
                assert_eq!(counter(store, &key).await, n + 1);
                if n % 3 == 2 {
                    let session = open(store, &key).await.expect("a live session is found");
                    session.cycle_key().unwrap();
                    ok("change a key", session.save().await);
                    let old = std::mem::replace(&mut key, session.session_key().unwrap());
                    self.gone.borrow_mut().push(old);
                }
                self.operations.set(self.operations.get() + 2);
            }
            if round % 2 == 0 {
                assert!(ok("delete", store.delete(&key).await), "a session is missing");
                self.gone.borrow_mut().push(key);
            } else {
                self.live.borrow_mut().insert(key, round % 6);
            }
            self.operations.set(self.operations.get() + 2);
            if self.stop.get() {
                return;
            }
        }
    }

    async fn check(&self, store: &Store) {
        for (key, n) in self.live.take() {
            assert_eq!(counter(store, &key).await, n, "an increment is lost");
        }
        for key in self.gone.take() {
            assert!(open(store, &key).await.is_none(), "a session that was gone is back");
        }
    }
}
