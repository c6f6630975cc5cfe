//! User models of a site's own: Django makes the tables, and both sides read each other's logins.

use std::thread;

use actix_django_session::{
    SecretKey, SessionMiddleware, Store,
    auth::{Auth, AuthMiddleware, NewUser, User, UserField, UserKey, UserModel, Users},
    backend::{Postgres, Sqlite},
};
use actix_web::web;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    pair::SECRET,
    support::{
        django::{Django, Version},
        http::Client,
        logins,
        postgres::Database,
        proc::TempDir,
        site::Site,
    },
};

const NAME: &str = "ann@example.com";

/// Where the users of a site are.
#[derive(Clone)]
enum Place {
    Postgres(String),
    Sqlite(String),
}

/// A site with a model of its own.
struct Custom<'a> {
    version: &'a Version,
    class: &'static str,
    place: Place,
    schema: &'static str,
    model: UserModel,
}

/// The models of `custom_users/models.py`, as the guide describes them.
fn models() -> [(&'static str, UserModel); 4] {
    let member = UserModel::new("custom_users", "Member")
        .key("uid", UserKey::Uuid)
        .login_column("email")
        .without(UserField::FirstName)
        .extra("phone")
        .extra("company_id");
    let device =
        UserModel::bare("custom_users", "Device", "label").table("devices").key("serial", UserKey::Text);
    let mut coded = UserModel::new("custom_users", "Coded")
        .table("people")
        .key("person no", UserKey::Integer)
        .login_column("Login")
        .column(UserField::Password, "pw")
        .column(UserField::IsActive, "active")
        .column(UserField::IsSuperuser, "root")
        .column(UserField::IsStaff, "may enter");
    for field in [
        UserField::LastLogin,
        UserField::FirstName,
        UserField::LastName,
        UserField::Email,
        UserField::DateJoined,
    ] {
        coded = coded.without(field);
    }
    let big = UserModel::new("custom_users", "Big");
    [("Member", member), ("Device", device), ("Coded", coded), ("Big", big)]
}

#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn custom_users_on_postgres() {
    for_each_version(|version, class, model| {
        let database = Database::fresh();
        // Those of one model are in a schema of their own.
        let schema = if class == "Big" { "accounts" } else { "" };
        if !schema.is_empty() {
            database.query("CREATE SCHEMA accounts");
        }
        let model = if schema.is_empty() { model } else { model.schema(schema) };
        let place = Place::Postgres(database.url().to_owned());
        let site = Custom { version, class, place, schema, model };
        site.make();
        if !schema.is_empty() {
            database.query("ALTER TABLE accounts.django_session SET SCHEMA public");
        }
        site.both_ways();
    });
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn custom_users_on_sqlite() {
    for_each_version(|version, class, model| {
        let dir = TempDir::new("custom");
        let place = Place::Sqlite(dir.path().join("db.sqlite3").display().to_string());
        let site = Custom { version, class, place, schema: "", model };
        site.make();
        site.both_ways();
    });
}

fn for_each_version(test: impl Fn(&Version, &'static str, UserModel) + Sync) {
    let versions = Django::versions();
    assert!(!versions.is_empty());
    thread::scope(|scope| {
        for version in &versions {
            let test = &test;
            scope.spawn(move || models().into_iter().for_each(|(class, model)| test(version, class, model)));
        }
    });
}

impl Custom<'_> {
    fn script(&self, args: &[&str]) -> String {
        let url = match &self.place {
            Place::Postgres(url) => url.clone(),
            Place::Sqlite(path) => format!("sqlite:///{path}"),
        };
        let model = format!("custom_users.{}", self.class);
        let mut settings =
            vec![("DATABASE_URL", &*url), ("SECRET_KEY", SECRET), ("AUTH_USER_MODEL", &*model)];
        if !self.schema.is_empty() {
            settings.push(("DATABASE_SCHEMA", self.schema));
        }
        self.version.script_with(&[&["custom_site.py"], args].concat(), &settings)
    }

    fn make(&self) -> String {
        self.script(&["make"]).trim().to_owned()
    }

    /// A request to Django: the results, and the session's key afterwards.
    fn django(&self, key: &str, program: &Value) -> (Value, String) {
        let mut answer: Value = serde_json::from_str(&self.script(&[key, &program.to_string()])).unwrap();
        let key = answer["key"].as_str().unwrap().to_owned();
        (answer["results"].take(), key)
    }

    /// The same to our site.
    fn ours(&self, site: &Site, key: &str, program: &Value) -> (Value, String) {
        let mut client = Client::new();
        if key != "-" {
            client.cookies.insert("sessionid".to_owned(), key.to_owned());
        }
        let reply = client.post_json(&site.url("/ops"), program);
        assert_eq!(reply.status, 200, "{}: {program}: {}", self.class, reply.text());
        let key = client.cookies.get("sessionid").map_or("-", String::as_str);
        (reply.json()["results"].take(), key.to_owned())
    }

    fn both_ways(&self) {
        let (site, class) = (serve(self.place.clone(), self.model.clone()), self.class);
        let program = json!([["user"], ["perms"]]);
        // A login of Django's.
        let (_, key) = self.django("-", &json!([["login", NAME]]));
        let (djangos, _) = self.django(&key, &program);
        assert_eq!(djangos[0], NAME, "{class}");
        let has_permissions = class != "Device";
        let expected = if has_permissions { json!(["auth.add_group", "auth.view_group"]) } else { json!([]) };
        assert_eq!(djangos[1], expected, "{class}");
        assert_eq!(self.ours(&site, &key, &program), (djangos.clone(), key.clone()), "{class}");
        // A login of ours, also of a user whom we have made.
        let (_, ours) = self.ours(&site, "-", &json!([["login", NAME]]));
        assert_eq!(self.django(&ours, &program), (djangos, ours.clone()), "{class}");
        let made = self.in_the_table(async |auth| self.make_another(&auth).await);
        let (_, of_another) = self.ours(&site, "-", &json!([["login", made.username()]]));
        let (results, _) = self.django(&of_another, &program);
        assert_eq!(results, json!([made.username(), []]), "{class}");
        // Passwords: each side ends the other one's sessions.
        let name = made.username();
        self.django("-", &json!([["set_password", name, "!x"]]));
        assert_eq!(
            self.ours(&site, &of_another, &json!([["user"]])),
            (json!([null]), "-".to_owned()),
            "{class}"
        );
        self.ours(&site, "-", &json!([["set_password", NAME, "another"]]));
        assert_eq!(self.django(&key, &json!([["user"]])), (json!([null]), String::new()), "{class}");
    }

    fn in_the_table<T>(&self, work: impl AsyncFnOnce(Auth) -> T) -> T {
        let runtime = Runtime::new().unwrap();
        let (place, model) = (self.place.clone(), self.model.clone());
        runtime.block_on(async { work(open(place, model).await.1).await })
    }

    /// Reads Django's user, and makes one.
    async fn make_another(&self, auth: &Auth) -> User {
        let ann = auth.users().get_by_username(NAME).await.unwrap().unwrap();
        assert!(ann.is_active() && ann.has_usable_password() && !ann.is_superuser());
        assert_eq!(auth.users().get(ann.id()).await.unwrap().unwrap(), ann);
        let groups: &[&str] = if self.class == "Device" { &[] } else { &["writers"] };
        assert_eq!(ann.groups().await.unwrap(), groups);
        // Who has last_login: Django's login has set it.
        assert_eq!(ann.last_login().is_some(), self.class != "Coded");
        let new = NewUser::new("bob@example.com");
        let new = match self.class {
            "Member" => {
                #[derive(Debug, Deserialize, PartialEq)]
                struct Member {
                    phone: Option<String>,
                    company_id: i64,
                }
                let member: Member = ann.extra().unwrap();
                assert_eq!(member, Member { phone: Some("555".to_owned()), company_id: 7 });
                assert_eq!((ann.id().len(), ann.last_name(), ann.email()), (36, "Lee", NAME));
                assert!(ann.is_staff() && ann.date_joined().is_some());
                new.column("company_id", 3)
            }
            "Device" => {
                assert_eq!((ann.id(), ann.is_staff(), ann.email()), ("D-1/ä b", false, ""));
                new.id("D-2")
            }
            "Coded" => {
                assert!(ann.is_staff());
                new
            }
            _ => {
                assert_eq!((ann.id(), ann.first_name()), ("1099511627776", "Ann"));
                new
            }
        };
        auth.create_user(new, Some("a long password")).await.unwrap()
    }
}

async fn open(place: Place, model: UserModel) -> (Store, Auth) {
    let secret = SecretKey::new(SECRET);
    let store = match place {
        Place::Postgres(url) => Store::new(Postgres::connect(&url).await.unwrap(), secret.clone()),
        Place::Sqlite(path) => Store::new(Sqlite::open(path).await.unwrap(), secret.clone()),
    };
    let users = Users::of(&store).unwrap().with_model(model).unwrap();
    (store, Auth::new(users, secret).unwrap())
}

fn serve(place: Place, model: UserModel) -> Site {
    Site::serve(1, async move || {
        let (store, auth) = open(place, model).await;
        move |config: &mut web::ServiceConfig| {
            config.service(
                web::scope("")
                    .wrap(AuthMiddleware::new(auth.clone()))
                    .wrap(SessionMiddleware::new(store.clone()))
                    .route("/ops", web::post().to(logins::ops)),
            );
        }
    })
}
