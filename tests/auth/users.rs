//! Users in real tables: those of Django, and others.

use actix_django_session::{
    SecretKey, Store,
    auth::{
        Auth, NewUser, UserField, UserKey, UserModel, Users,
        password::{PasswordHasher, PasswordHashers},
    },
    backend::{Postgres, Sqlite},
};

use crate::support::{postgres::Database, proc::TempDir};

/// A database with Django's tables, and SQL for it.
pub(crate) struct Tables {
    pub(crate) users: Users,
    pub(crate) store: Store,
    place: Place,
}

enum Place {
    Postgres(Database),
    Sqlite(TempDir),
}

impl Tables {
    pub(crate) async fn postgres() -> Self {
        let database = Database::fresh();
        let postgres = Postgres::connect(database.url()).await.unwrap();
        Self::new(Users::postgres(&postgres), Store::new(postgres, secret()), Place::Postgres(database)).await
    }

    pub(crate) async fn sqlite() -> Self {
        let dir = TempDir::new("users");
        let sqlite = Sqlite::open(dir.path().join("db.sqlite3")).await.unwrap();
        Self::new(Users::sqlite(&sqlite), Store::new(sqlite, secret()), Place::Sqlite(dir)).await
    }

    async fn new(users: Users, store: Store, place: Place) -> Self {
        store.create_table().await.unwrap();
        users.create_tables().await.unwrap();
        Self { users, store, place }
    }

    pub(crate) async fn both() -> [Self; 2] {
        [Self::postgres().await, Self::sqlite().await]
    }

    pub(crate) fn auth(&self) -> Auth {
        // Few iterations: tests hash many passwords.
        let hashers = PasswordHashers::new(PasswordHasher::pbkdf2_sha256(100));
        Auth::new(self.users.clone(), secret()).unwrap().hashers(hashers).unwrap()
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.place, Place::Postgres(_))
    }

    /// The same users over connections of their own, as another host has them.
    pub(crate) async fn another_host(&self) -> Users {
        match &self.place {
            Place::Postgres(database) => Users::postgres(&Postgres::connect(database.url()).await.unwrap()),
            Place::Sqlite(dir) => Users::sqlite(&Sqlite::open(dir.path().join("db.sqlite3")).await.unwrap()),
        }
    }

    pub(crate) fn into_database(self) -> Database {
        match self.place {
            Place::Postgres(database) => database,
            Place::Sqlite(_) => panic!("an SQLite file"),
        }
    }

    /// The first column of a query's rows, as text; NULL is empty.
    pub(crate) fn query(&self, sql: &str) -> Vec<String> {
        match &self.place {
            Place::Postgres(database) => {
                let rows = database.query(sql);
                rows.into_iter().map(|row| row.into_iter().flatten().next().unwrap_or_default()).collect()
            }
            Place::Sqlite(dir) => {
                use rusqlite::types::Value;
                let db = rusqlite::Connection::open(dir.path().join("db.sqlite3")).unwrap();
                let mut statement = db.prepare(sql).unwrap();
                let rows = statement.query_map([], |row| row.get::<_, Value>(0)).unwrap();
                let text = |value| match value {
                    Value::Null => String::new(),
                    Value::Integer(number) => number.to_string(),
                    Value::Real(number) => number.to_string(),
                    Value::Text(text) => text,
                    Value::Blob(bytes) => String::from_utf8(bytes).unwrap(),
                };
                rows.map(|value| text(value.unwrap())).collect()
            }
        }
    }

    pub(crate) fn execute(&self, sql: &str) {
        match &self.place {
            Place::Postgres(database) => drop(database.query(sql)),
            Place::Sqlite(dir) => {
                let db = rusqlite::Connection::open(dir.path().join("db.sqlite3")).unwrap();
                db.execute_batch(sql).unwrap();
            }
        }
    }
}

pub(crate) fn secret() -> SecretKey {
    SecretKey::new("a secret")
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_created_user_is_found_again() {
    for tables in Tables::both().await {
        let auth = tables.auth();
        let new = NewUser::new("\u{ff41}nn").email("Ann@Example.COM").full_name("Ann", "Lee").staff();
        let ann = auth.create_user(new, None).await.unwrap();
        assert_eq!((ann.id(), ann.username(), ann.email()), ("1", "ann", "Ann@example.com"));
        tables.users.check().await.unwrap();
        assert!(ann.is_active() && ann.is_staff() && !ann.is_superuser() && !ann.has_usable_password());
        assert_eq!(ann.full_name(), "Ann Lee");
        assert!(ann.last_login().is_none() && ann.date_joined().unwrap().elapsed().unwrap().as_secs() < 60);
        let again = tables.users.get_by_username("ann").await.unwrap().unwrap();
        assert_eq!(again, ann);
        for unknown in ["Ann", "ann ", "", "a\0", "bob"] {
            assert!(tables.users.get_by_username(unknown).await.unwrap().is_none(), "{unknown:?}");
        }
        for key in ["1", " 1 ", "01", "１"] {
            assert_eq!(tables.users.get(key).await.unwrap().unwrap(), ann);
        }
        for key in ["2", "-1", "x", "", "9223372036854775807", "99999999999999999999"] {
            assert!(tables.users.get(key).await.unwrap().is_none(), "{key:?}");
        }
        let taken = auth.create_user(NewUser::new("ann"), None).await.unwrap_err();
        assert!(taken.is_taken(), "{taken}");
        let bad = [
            NewUser::new(""),
            NewUser::new("a\0b"),
            NewUser::new("x").column("is_superuser", true),
            NewUser::new("x").column("password", "plain"),
            NewUser::new("x").column("id", 7),
        ];
        for new in bad {
            assert!(auth.create_user(new, None).await.unwrap_err().is_value());
        }
        if tables.is_postgres() {
            let error = auth.create_user(NewUser::new(&"x".repeat(151)), None).await.unwrap_err();
            assert!(error.is_value() && !error.with_causes().contains("xxx"), "{error}");
        }
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn permissions_are_those_of_user_and_groups() {
    for tables in Tables::both().await {
        let auth = tables.auth();
        let mut users = Vec::new();
        for new in [NewUser::new("ann"), NewUser::new("root").superuser(), NewUser::new("gone").inactive()] {
            users.push(auth.create_user(new, None).await.unwrap());
        }
        tables.execute(
            "INSERT INTO django_content_type (id, app_label, model) VALUES (1, 'blog', 'entry'), (2, 'a.b', 'x'); \
             INSERT INTO auth_permission (id, name, content_type_id, codename) VALUES \
                 (1, 'p', 1, 'add_entry'), (2, 'p', 1, 'view_entry'), (3, 'p', 2, 'c.d'), (4, 'p', 1, 'delete'); \
             INSERT INTO auth_group (id, name) VALUES (1, 'writers'), (2, 'empty'); \
             INSERT INTO auth_group_permissions (group_id, permission_id) VALUES (1, 2), (1, 1); \
             INSERT INTO auth_user_groups (user_id, group_id) VALUES (1, 1), (1, 2), (3, 1); \
             INSERT INTO auth_user_user_permissions (user_id, permission_id) VALUES (1, 3), (1, 1)",
        );
        let [ann, root, gone] = &users[..] else { unreachable!() };
        let permissions = ann.permissions().await.unwrap();
        let texts =
            |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(texts(permissions.all()), "a.b.c.d blog.add_entry blog.view_entry");
        assert_eq!(texts(permissions.own()), "a.b.c.d blog.add_entry");
        assert_eq!(texts(permissions.of_groups()), "blog.add_entry blog.view_entry");
        assert!(ann.has_perm("blog.add_entry").await.unwrap());
        assert!(
            !ann.has_perm("blog.delete").await.unwrap() && !ann.has_perm("Blog.add_entry").await.unwrap()
        );
        assert!(ann.has_perms(["blog.add_entry", "a.b.c.d"]).await.unwrap());
        assert!(ann.has_perms::<&str>([]).await.unwrap());
        assert!(ann.has_module_perms("a").await.unwrap() && !ann.has_module_perms("a.b").await.unwrap());
        assert_eq!(ann.groups().await.unwrap(), ["empty", "writers"]);
        assert!(root.has_perm("no.such").await.unwrap() && root.has_module_perms("no").await.unwrap());
        assert_eq!(root.permissions().await.unwrap().own().len(), 4);
        assert!(!gone.has_perm("blog.add_entry").await.unwrap());
        assert!(gone.permissions().await.unwrap().all().is_empty());
        assert!(gone.has_perms::<&str>([]).await.unwrap(), "as in Django");
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_model_of_its_own() {
    for tables in Tables::both().await {
        let (uuid, text) = if tables.is_postgres() { ("uuid", "text") } else { ("char(32)", "varchar(99)") };
        let bool = if tables.is_postgres() { "boolean" } else { "bool" };
        tables.execute(&format!(
            "CREATE TABLE \"Members\" (uid {uuid} PRIMARY KEY, pw {text} NOT NULL, email {text} NOT NULL UNIQUE, \
             active {bool} NOT NULL, phone {text}, company_id integer)"
        ));
        let model = UserModel::bare("accounts", "Member", "email")
            .table("Members")
            .key("uid", UserKey::Uuid)
            .column(UserField::Password, "pw")
            .column(UserField::IsActive, "active")
            .without(UserField::LastLogin)
            .extra("phone")
            .extra("company_id");
        let users = tables.users.with_model(model).unwrap();
        let auth = Auth::new(users.clone(), secret()).unwrap();
        users.check().await.unwrap();
        let new = NewUser::new("bob@X.org").column("phone", "555").column("company_id", 7);
        let bob = auth.create_user(new, None).await.unwrap();
        assert_eq!(bob.id().len(), 36);
        assert_eq!((&bob.id()[14..15], bob.username()), ("4", "bob@x.org"));
        assert!(bob.is_active() && !bob.is_staff() && bob.permissions().await.unwrap().all().is_empty());
        assert_eq!(bob.groups().await.unwrap().len(), 0);
        #[derive(serde::Deserialize)]
        struct Member {
            phone: String,
            company_id: i64,
        }
        let member: Member = bob.extra().unwrap();
        assert_eq!((&*member.phone, member.company_id), ("555", 7));
        assert!(bob.extra::<Vec<u8>>().unwrap_err().is_value());
        let upper = bob.id().to_uppercase().replace('-', "");
        assert_eq!(users.get(&upper).await.unwrap().unwrap(), bob);
        assert!(users.create_tables().await.unwrap_err().is_configuration());
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn what_does_not_fit_is_said() {
    let tables = Tables::postgres().await;
    let wrong = [
        (UserModel::default().table("nobody"), "does not exist"),
        (UserModel::default().column(UserField::Email, "mail"), "other columns"),
        (UserModel::default().key("id", UserKey::Uuid), "other columns"),
    ];
    for (model, expected) in wrong {
        let users = tables.users.with_model(model).unwrap();
        let key = if expected == "other columns" { "00000000000000000000000000000001" } else { "1" };
        let error = users.get(key).await.unwrap_err();
        assert_eq!(users.check().await.unwrap_err().to_string(), error.to_string());
        assert!(error.is_store() && error.to_string().contains(expected), "{error}");
    }
    let table = UserModel::default().table("a\0b");
    assert!(tables.users.with_model(table).unwrap_err().is_configuration());
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn many_requests_load_their_users_together() {
    let tables = Tables::postgres().await;
    let auth = tables.auth();
    for n in 0..50 {
        auth.create_user(NewUser::new(&format!("user{n}")), None).await.unwrap();
    }
    let ids: Vec<String> = (1..=50).chain(1..=50).map(|n| n.to_string()).collect();
    let loads = ids.iter().map(|id| tables.users.get(id));
    for (id, user) in ids.iter().zip(futures_util::future::join_all(loads).await) {
        assert_eq!(user.unwrap().unwrap().id(), id);
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn keys_that_are_equal_but_spelled_otherwise_are_found_together_too() {
    let tables = Tables::postgres().await;
    tables.execute(
        "CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
         CREATE TABLE members (name text COLLATE no_case PRIMARY KEY, password text NOT NULL); \
         INSERT INTO members SELECT 'Member' || n, 'x' FROM generate_series(1, 20) n",
    );
    let model = UserModel::bare("accounts", "Member", "name")
        .table("members")
        .key("name", UserKey::Text)
        .without(UserField::LastLogin)
        .without(UserField::IsActive);
    let users = tables.users.with_model(model).unwrap();
    assert_eq!(users.get("member1").await.unwrap().unwrap().id(), "Member1", "alone");
    let names: Vec<_> =
        (1..=20).flat_map(|n| ["Member", "member", "MEMBER", "nobody"].map(|name| (name, n))).collect();
    let loads = names.iter().map(|(name, n)| {
        let (users, key) = (users.clone(), format!("{name}{n}"));
        async move { users.get(&key).await }
    });
    for ((name, n), user) in names.iter().zip(futures_util::future::join_all(loads).await) {
        let found = user.unwrap().map(|user| user.id().to_owned());
        assert_eq!(found, (*name != "nobody").then(|| format!("Member{n}")), "{name}{n}");
    }
}
