//! Limits on failed logins, counted in the database by several hosts at once.

use std::{net::SocketAddr, time::Duration};

use actix_django_session::{
    Error, SecretKey, SessionMiddleware,
    auth::{
        AuthMiddleware, AuthSession, Credentials, DatabaseThrottle, LoginAttempt, LoginThrottle, NewUser,
    },
};
use actix_web::{
    App, HttpResponse,
    http::header::RETRY_AFTER,
    test::{TestRequest, call_service, init_service},
    web,
};
use futures_util::future::join_all;

use crate::users::{Tables, secret};

const MINUTE: Duration = Duration::from_secs(60);

async fn throttle(tables: &Tables) -> DatabaseThrottle {
    let throttle = DatabaseThrottle::new(&tables.users, &secret()).unwrap();
    throttle.create_table().await.unwrap();
    throttle
}

fn attempt(name: &str, address: &str) -> LoginAttempt {
    LoginAttempt::new(name, Some(address.parse().unwrap()))
}

/// Lets the windows of all counts end.
fn end_windows(tables: &Tables) {
    tables.execute("UPDATE actix_login_attempts SET expires_ms = expires_ms - 400000");
}

fn rows(tables: &Tables) -> usize {
    tables.query("SELECT count(*) AS c FROM actix_login_attempts")[0].parse().unwrap()
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn of_fifty_attempts_at_once_five_are_made() {
    for tables in Tables::both().await {
        let here = throttle(&tables).await;
        let there = DatabaseThrottle::new(&tables.another_host().await, &secret()).unwrap();
        there.create_table().await.unwrap(); // a second time
        let ann = attempt("ann", "192.0.2.1");
        let attempts = (0..50).map(|n| if n % 2 == 0 { here.begin(&ann) } else { there.begin(&ann) });
        let waits: Vec<Option<Duration>> =
            join_all(attempts).await.into_iter().collect::<Result<_, _>>().unwrap();
        assert_eq!(waits.iter().filter(|wait| wait.is_none()).count(), 5);
        for wait in waits.into_iter().flatten() {
            assert!(wait > 4 * MINUTE && wait <= 5 * MINUTE, "{wait:?}");
        }
        assert!(there.begin(&ann).await.unwrap().is_some() && here.begin(&ann).await.unwrap().is_some());
        // Of others, who share the name or the address, none is refused.
        for other in [attempt("ann", "192.0.2.2"), attempt("bob", "192.0.2.1"), attempt("ann", "2001:db8::1")]
        {
            assert_eq!(here.begin(&other).await.unwrap(), None, "{other:?}");
        }
        end_windows(&tables);
        assert_eq!(here.begin(&ann).await.unwrap(), None);
        assert_eq!(tables.query("SELECT max(attempts) AS c FROM actix_login_attempts"), ["1"]);
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn an_address_has_a_limit_for_all_names() {
    for tables in Tables::both().await {
        let throttle = throttle(&tables).await.per_address(20, MINUTE);
        // Other names in many orders, at once: their rows must not lock each other out.
        let names: Vec<LoginAttempt> = (0..40).map(|n| attempt(&format!("user{n}"), "2001:db8::1")).collect();
        let waits = join_all(names.iter().map(|one| throttle.begin(one))).await;
        let made = waits.into_iter().filter(|wait| wait.as_ref().unwrap().is_none()).count();
        assert_eq!(made, 20);
        let wait = throttle.begin(&attempt("new", "2001:db8::ffff:1")).await.unwrap();
        assert!(wait.is_some_and(|wait| wait <= MINUTE), "the network is the same: {wait:?}");
        assert_eq!(throttle.begin(&attempt("new", "2001:db8:0:1::1")).await.unwrap(), None);
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_success_forgets_the_failures_before_it() {
    for tables in Tables::both().await {
        let throttle = throttle(&tables).await.per_address(10, MINUTE);
        let (ann, bob) = (attempt("ann", "192.0.2.1"), attempt("bob", "192.0.2.1"));
        for _ in 0..3 {
            assert_eq!(throttle.begin(&bob).await.unwrap(), None);
        }
        for _ in 0..5 {
            assert_eq!(throttle.begin(&ann).await.unwrap(), None);
        }
        throttle.succeeded(&ann).await.unwrap();
        // Of the address, only the success itself is taken back: a login of one's own buys no guesses.
        let mut counts = tables.query("SELECT attempts AS c FROM actix_login_attempts");
        counts.sort();
        assert_eq!(counts, ["0", "3", "7"]);
        for _ in 0..3 {
            assert_eq!(throttle.begin(&ann).await.unwrap(), None);
        }
        assert!(throttle.begin(&ann).await.unwrap().is_some(), "the address's limit");
        // Logins that succeed never add up, however many.
        let carl = attempt("carl", "192.0.2.7");
        for _ in 0..30 {
            assert_eq!(throttle.begin(&carl).await.unwrap(), None);
            throttle.succeeded(&carl).await.unwrap();
        }
        // At once, with all the failures of others: none waits for ever, none is lost.
        let all = (0..30).map(|n| {
            let (throttle, one) = (&throttle, attempt(&format!("user{}", n % 3), "192.0.2.8"));
            async move {
                throttle.begin(&one).await.unwrap();
                throttle.succeeded(&one).await.unwrap();
            }
        });
        join_all(all).await;
        assert_eq!(throttle.begin(&attempt("user0", "192.0.2.8")).await.unwrap(), None);
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn names_and_addresses_are_not_stored() {
    for tables in Tables::both().await {
        let throttle = throttle(&tables).await;
        let long = "x".repeat(1 << 20);
        for name in ["ann", "ann\0", "", "\u{fdfa}\u{1f600}", &long] {
            assert_eq!(throttle.begin(&attempt(name, "192.0.2.1")).await.unwrap(), None);
        }
        let keys = tables.query("SELECT key AS c FROM actix_login_attempts");
        assert_eq!(keys.len(), 6);
        assert!(keys.iter().all(|key| key.len() == 43), "{keys:?}");
        // Another secret, other keys.
        let other = DatabaseThrottle::new(&tables.users, &SecretKey::new("another")).unwrap();
        other.begin(&attempt("ann", "192.0.2.1")).await.unwrap();
        assert_eq!(rows(&tables), 8);
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn old_rows_are_deleted_in_bounded_steps() {
    for tables in Tables::both().await {
        let first = throttle(&tables).await;
        let old = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) \
                   SELECT i, 3, 1000 FROM n";
        let old = old.replace("SELECT i, 3", "SELECT CAST(i AS varchar(43)), 3");
        tables.execute(&format!("INSERT INTO actix_login_attempts (key, attempts, expires_ms) {old}"));
        let (ann, mut left) = (attempt("ann", "192.0.2.1"), Vec::new());
        for _ in 0..4 {
            assert_eq!(first.begin(&ann).await.unwrap(), None);
            left.push(rows(&tables) - 2);
        }
        assert_eq!(left, [1500, 500, 0, 0]);
        // Not before a minute has passed; another process has a minute of its own.
        end_windows(&tables);
        first.begin(&attempt("bob", "192.0.2.2")).await.unwrap();
        assert_eq!(rows(&tables), 4);
        throttle(&tables).await.begin(&attempt("bob", "192.0.2.2")).await.unwrap();
        assert_eq!(rows(&tables), 2);
    }
}

async fn sign_in(auth: AuthSession, query: web::Query<Vec<(String, String)>>) -> Result<HttpResponse, Error> {
    let (name, password) = &query[0];
    let Some(user) = auth.authenticate(&Credentials::password(name, password)).await? else {
        return Ok(HttpResponse::Forbidden().finish());
    };
    auth.login(&user).await?;
    Ok(HttpResponse::Ok().finish())
}

async fn confirm(auth: AuthSession, password: web::Path<String>) -> Result<String, Error> {
    Ok(auth.confirm_password(&password).await?.to_string())
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_login_that_is_throttled_answers_429() {
    for tables in Tables::both().await {
        let auth = tables.auth().throttle(throttle(&tables).await);
        auth.create_user(NewUser::new("ann"), Some("right")).await.unwrap();
        let app = init_service(
            App::new()
                .route("/in", web::get().to(sign_in))
                .route("/confirm/{password}", web::get().to(confirm))
                .wrap(AuthMiddleware::new(auth))
                .wrap(SessionMiddleware::new(tables.store.clone())),
        )
        .await;
        let get = |path: &str, address: &str, cookie: Option<&str>| {
            let peer: Option<SocketAddr> = address.parse().ok();
            let mut request = TestRequest::get().uri(path);
            if let Some(peer) = peer {
                request = request.peer_addr(peer);
            }
            if let Some(cookie) = cookie {
                request = request.insert_header(("cookie", cookie));
            }
            call_service(&app, request.to_request())
        };
        let (here, there) = ("192.0.2.1:5000", "192.0.2.2:5000");
        let status = async |path: &str, address: &str| get(path, address, None).await.status().as_u16();
        for _ in 0..5 {
            assert_eq!(status("/in?ann=wrong", here).await, 403);
        }
        let refused = get("/in?ann=right", here, None).await;
        assert_eq!(refused.status(), 429, "the right password too");
        let wait: u64 = refused.headers().get(RETRY_AFTER).unwrap().to_str().unwrap().parse().unwrap();
        assert!((290..=300).contains(&wait), "{wait}");
        assert!(refused.headers().get("set-cookie").is_none());
        assert_eq!(status("/in?Ann=right", here).await, 429, "another spelling is no way around");
        assert_eq!(status("/in?ann=right", there).await, 200, "the user is not locked out");
        // A success resets the count.
        end_windows(&tables);
        for _ in 0..3 {
            for _ in 0..4 {
                assert_eq!(status("/in?ann=wrong", here).await, 403);
            }
            assert_eq!(status("/in?ann=right", here).await, 200);
        }
        // Confirming a password counts as a login does.
        let reply = get("/in?ann=right", here, None).await;
        let cookie = reply.headers().get("set-cookie").unwrap().to_str().unwrap().split(';').next().unwrap();
        for _ in 0..5 {
            assert_eq!(get("/confirm/wrong", here, Some(cookie)).await.status(), 200);
        }
        assert_eq!(get("/confirm/right", here, Some(cookie)).await.status(), 429);
        // Without a count no password is checked: not without an address, and not without the database.
        assert_eq!(status("/in?ann=right", "unknown").await, 500);
        tables.execute("ALTER TABLE actix_login_attempts RENAME TO elsewhere");
        assert_eq!(status("/in?ann=right", there).await, 503);
        tables.execute("ALTER TABLE elsewhere RENAME TO actix_login_attempts");
        assert_eq!(status("/in?ann=right", there).await, 200);
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_missing_table_or_right_is_named() {
    let tables = Tables::postgres().await;
    let throttle = DatabaseThrottle::new(&tables.users, &secret()).unwrap();
    let error = throttle.begin(&attempt("ann", "192.0.2.1")).await.unwrap_err();
    assert!(error.is_store() && error.to_string().contains("DatabaseThrottle::create_table()"), "{error}");
    assert!(!format!("{throttle:?} {:?}", attempt("ann", "192.0.2.1")).contains("ann"));
}
