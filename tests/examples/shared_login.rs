//! The example `shared_login`: a Django site and an actix service behind one port.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
};

use super::{Server, command};
use crate::support::{
    browser::Browser,
    django::Django,
    http::{Client, Reply},
    proc::{self, PATIENCE, TempDir, wait_until},
};

const USER: &str = "ada";
const PASSWORD: &str = "difference engine";
const NEW_PASSWORD: &str = "analytical engine";

/// The Pythons of the Djangos that the example is for.
fn pythons() -> Vec<(String, PathBuf)> {
    let versions = Django::versions().into_iter().filter(|version| !version.name.starts_with("4."));
    let pythons: Vec<_> = versions.map(|version| (version.name.clone(), version.python_path())).collect();
    assert!(!pythons.is_empty(), "no Django from 5.2 on is installed");
    pythons
}

fn start(python: &Path, dir: &Path) -> Server {
    let [python, demo] = [python, dir].map(|path| path.to_str().unwrap());
    Server::start("shared_login", dir, &[("PYTHON", python), ("DEMO_DIR", demo)])
}

fn screenshot(browser: &Browser, name: &str) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    fs::create_dir_all(&dir).unwrap();
    browser.screenshot(&dir.join(format!("shared_login-{name}.png")));
}

#[test]
#[ignore = "needs Django and Chromium: run tests/run"]
fn in_a_browser_both_halves_are_one_site() {
    for (version, python) in pythons() {
        println!("Django {version}");
        let dir = TempDir::new("shared-login");
        let server = start(&python, dir.path());
        one_site(&server.url);
    }
}

fn one_site(url: &str) {
    let at = |path: &str| format!("{url}{path}");
    let (one, two) = (Browser::start(), Browser::start());

    // Log in at Django's admin: Rust knows the user, with groups and permissions.
    one.goto(&at("/"));
    one.wait_for_text(".badge", "Served by Django");
    screenshot(&one, "shop");
    one.goto(&at("/rust/"));
    one.wait_for_text("h1", "A visitor");
    log_in_at_the_admin(&one, url, PASSWORD);
    one.goto(&at("/rust/"));
    one.wait_for_text("#user", USER);
    one.wait_for_text("h1", "Ada Lovelace");
    assert_eq!(one.text("#groups"), "Staff Tea house");
    let permissions = one.text("#permissions");
    one.wait_for_text(".badge", "Served by Rust");
    screenshot(&one, "you-rust");
    one.goto(&at("/you/"));
    one.wait_for_text(".badge", "Served by Django");
    screenshot(&one, "you-django");
    assert_eq!(one.text("#permissions"), permissions, "both halves see the same");
    assert!(permissions.contains("shop.give_discount") && permissions.contains("auth.view_group"));

    // Django's form, posted to Rust, and the reverse.
    one.goto(&at("/"));
    one.click("#rust-assam");
    one.wait_for_text(".message", "Rust added one Assam.");
    assert_eq!(one.url(), at("/rust/cart"));
    assert_eq!(one.text("#total"), "€ 6.40");
    one.click("button[aria-label='One more Assam in Django']");
    one.wait_for_text(".message", "Django added one Assam.");
    assert_eq!(one.url(), at("/cart/"));
    assert_eq!(one.text("#total"), "€ 12.80");
    one.goto(&at("/"));
    one.click("#django-sencha");
    one.wait_for_text(".message", "Django added one Sencha.");
    screenshot(&one, "cart-django");
    one.click("button[aria-label='One more Assam in Rust']");
    one.wait_for_text(".message", "Rust added one Assam.");
    assert_eq!((one.text("#total"), one.text(".count")), ("€ 28.80".to_owned(), "4".to_owned()));
    screenshot(&one, "cart-rust");

    // A message from each side, shown by the other one, once.
    one.goto(&at("/you/"));
    one.click("#leave-message");
    one.wait_for_text(".message", "Hello from Django");
    assert_eq!(one.url(), at("/rust/"));
    one.click("#leave-message");
    one.wait_for_text(".message", "Hello from Rust");
    assert_eq!(one.url(), at("/you/"));
    one.goto(&at("/rust/cart"));
    one.wait_for_text("h1", "Your cart");
    assert_eq!(one.script("return document.querySelectorAll('.message').length"), 0);

    // Log in at the form in Rust: Django's admin knows the user. The cart of the anonymous visit stays.
    two.goto(&at("/"));
    two.click("#django-rooibos");
    two.wait_for_text(".message", "Django added one Rooibos.");
    two.goto(&at("/rust/sign-in?next=/rust/cart"));
    sign_in(&two, "wrong");
    two.wait_for_text(".message", "Please enter a correct user name and password.");
    screenshot(&two, "sign-in-rust");
    sign_in(&two, PASSWORD);
    two.wait_for_text("#total", "€ 5.20");
    assert_eq!(two.url(), at("/rust/cart"));
    two.goto(&at("/admin/"));
    two.wait_for_text("#user-tools", "ADA");
    screenshot(&two, "admin");

    // A new password, set in Django: this browser stays, the other one is out, in both halves.
    one.goto(&at("/admin/password_change/"));
    one.type_text("#id_old_password", PASSWORD);
    one.type_text("#id_new_password1", NEW_PASSWORD);
    one.type_text("#id_new_password2", NEW_PASSWORD);
    one.click("#content form [type=submit]");
    one.wait_for_text("h1", "Password change successful");
    two.goto(&at("/rust/"));
    two.wait_for_text("h1", "A visitor");
    two.goto(&at("/admin/"));
    two.find("#id_username");
    one.goto(&at("/rust/"));
    one.wait_for_text("#user", USER);
    two.goto(&at("/rust/sign-in"));
    sign_in(&two, NEW_PASSWORD);
    two.wait_for_text("#user", USER);
    assert_eq!(two.url(), at("/rust/"));

    // Log out in Rust: out in the admin. Log out in Django: out in Rust.
    one.click("#sign-out");
    one.wait_for_text(".badge", "Served by Django");
    one.goto(&at("/admin/"));
    one.find("#id_username");
    two.goto(&at("/you/"));
    two.wait_for_text("#user", USER);
    two.click("#sign-out");
    two.wait_for_text(".hero", "Loose leaf");
    two.goto(&at("/rust/"));
    two.wait_for_text("h1", "A visitor");
    two.goto(&at("/accounts/login/?next=/rust/"));
    screenshot(&two, "sign-in-django");
    sign_in(&two, NEW_PASSWORD);
    two.wait_for_text("#user", USER);
    assert_eq!(two.url(), at("/rust/"));

    // As narrow as a phone, nothing sticks out; and everything comes from this site.
    for path in ["/", "/cart/", "/you/", "/rust/", "/rust/cart", "/rust/sign-in"] {
        two.goto(&at(path));
        two.find("footer");
        two.script("document.documentElement.style.width = '390px'");
        let out = "return [...document.querySelectorAll('*')].filter(e => \
                   e.getBoundingClientRect().right > 390).map(e => e.outerHTML.slice(0, 80))";
        assert_eq!(two.script(out), serde_json::json!([]), "{path}");
        let fetched = "return performance.getEntriesByType('resource').map(e => new URL(e.name).pathname)";
        assert_eq!(two.script(fetched), serde_json::json!(["/static/shop/style.css"]), "{path}");
    }
}

fn log_in_at_the_admin(browser: &Browser, url: &str, password: &str) {
    browser.goto(&format!("{url}/admin/"));
    browser.type_text("#id_username", USER);
    browser.type_text("#id_password", password);
    browser.click("#login-form [type=submit]");
    browser.wait_for_text("h1", "Site administration");
}

fn sign_in(browser: &Browser, password: &str) {
    browser.type_text("[name=username]", USER);
    browser.type_text("[name=password]", password);
    browser.click("form.stack button");
}

/// A form of either half, with the token that Django has set.
fn post(server: &Server, client: &mut Client, path: &str, fields: &[(&str, &str)]) -> Reply {
    let token = client.cookies["csrftoken"].clone();
    let mut fields = fields.to_vec();
    fields.push(("csrfmiddlewaretoken", &token));
    client.post_form(&format!("{}{path}", server.url), &fields)
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn a_cart_that_both_halves_change_at_once_loses_nothing() {
    for (_, python) in pythons() {
        let dir = TempDir::new("shared-login");
        let server = start(&python, dir.path());
        let mut client = Client::new();
        client.get(&server.url);
        assert_eq!(post(&server, &mut client, "/cart/change", &[("tea", "oolong")]).status, 302);
        thread::scope(|scope| {
            for path in ["/cart/change", "/rust/cart/change"].repeat(3) {
                let (mut client, server) = (client.clone(), &server);
                scope.spawn(move || {
                    for _ in 0..10 {
                        let reply = post(server, &mut client, path, &[("tea", "assam")]);
                        assert!([302, 303].contains(&reply.status), "{path}: {}", reply.text());
                    }
                });
            }
        });
        for path in ["/cart/", "/rust/cart"] {
            let page = client.get(&format!("{}{path}", server.url)).text();
            assert!(page.contains("<span class=\"number\">60 ×</span>"), "{path}: {page}");
            assert!(page.contains("<b class=\"count\">61</b>"), "{path}: {page}");
        }
    }
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn requests_without_a_token_are_refused_by_both_halves() {
    let dir = TempDir::new("shared-login");
    let server = start(&pythons()[0].1, dir.path());
    let mut client = Client::new();
    client.get(&server.url);
    for path in ["/cart/change", "/rust/cart/change", "/rust/sign-in", "/rust/sign-out", "/rust/message"] {
        let reply = client.post_form(&format!("{}{path}", server.url), &[("tea", "assam")]);
        assert_eq!(reply.status, 403, "{path}: {}", reply.text());
    }
    for path in ["/rust/nothing", "/nothing"] {
        assert_eq!(client.get(&format!("{}{path}", server.url)).status, 404, "{path}");
    }
    assert_eq!(post(&server, &mut client, "/rust/cart/change", &[("tea", "coffee")]).status, 404);
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn django_stops_with_the_example() {
    let dir = TempDir::new("shared-login");
    let python = &pythons()[0].1;
    for signal in ["INT", "TERM", "KILL"] {
        let mut server = start(python, dir.path());
        let django = proc::children(server.group.id());
        assert_eq!(django.len(), 1);
        assert_eq!(Client::new().get(&server.url).status, 200);
        server.group.signal(signal);
        let status = server.group.wait(PATIENCE);
        assert_eq!(status.success(), signal != "KILL", "{signal}: {status}\n{}", server.group.log());
        let process = PathBuf::from(format!("/proc/{}", django[0]));
        wait_until(&format!("Django should stop after {signal}"), PATIENCE, || !process.exists());
    }
    // It prints two lines at each start, and makes these files.
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 6, "{log}");
    assert!(lines[0].starts_with("Open http://127.0.0.1:"), "{log}");
    assert_eq!(lines[1], "Sign in as ada with the password \"difference engine\". Ctrl-C stops both halves.");
    for name in ["db.sqlite3", "django.log", "secret_key"] {
        assert!(dir.path().join(name).is_file(), "{name}");
    }
}

#[test]
fn startup_errors_of_the_shared_login_are_one_sentence() {
    let dir = TempDir::new("shared-login");
    let run = |settings: &[(&str, &str)]| {
        let demo = dir.path().join("demo");
        let mut settings = settings.to_vec();
        settings.push(("DEMO_DIR", demo.to_str().unwrap()));
        let output = command("shared_login", dir.path(), &settings).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.starts_with("shared_login: ") && stderr.lines().count() == 1, "{stderr}");
        stderr
    };
    assert!(run(&[("PORT", "http")]).contains("PORT has to be"));
    let said = run(&[("PYTHON", "/bin/false")]);
    assert!(said.contains("PYTHON is /bin/false, which needs Django 5.2 or newer and gunicorn"), "{said}");

    // A machine whose only program is this python3.
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let said = run(&[("PATH", bin.to_str().unwrap())]);
    assert!(said.contains("python3 3.10 or newer is missing: install it"), "{said}");
    let install = |script: &str| {
        let python = bin.join("python3");
        fs::write(&python, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&python, PermissionsExt::from_mode(0o755)).unwrap();
    };
    install("case \"$*\" in *version_info*) exit 1 ;; esac");
    assert!(run(&[("PATH", bin.to_str().unwrap())]).contains("python3 3.10 or newer is missing"));
    install("case \"$*\" in *ensurepip*) exit 1 ;; esac");
    let said = run(&[("PATH", bin.to_str().unwrap())]);
    assert!(said.contains("install the package python3-venv"), "{said}");
    install(
        "case \"$*\" in *'-m venv'*) /bin/mkdir -p \"$3/bin\" && /bin/cp \"$0\" \"$3/bin/python\" ;; \
         *pip*) case \"$*\" in *ensurepip*) ;; *) echo 'no route to host' >&2; exit 1 ;; esac ;; esac",
    );
    let said = run(&[("PATH", bin.to_str().unwrap())]);
    assert!(said.contains("pip cannot install Django") && said.contains("no route to host"), "{said}");
}
