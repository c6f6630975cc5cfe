//! Scopes and handlers that need a user.

use std::rc::Rc;

use actix_django_session::{
    SessionMiddleware,
    auth::{
        Auth, AuthMiddleware, AuthSession, AuthSettings, FreshLogin, LoginRequired, NewUser, PermissionName,
        StaffUser, Superuser, User, WithPermission,
    },
};
use actix_web::{
    App, HttpResponse,
    cookie::Cookie,
    http::header,
    test::{TestRequest, call_service, init_service},
    web,
};

use crate::users::Tables;

struct AddEntry;

impl PermissionName for AddEntry {
    const NAME: &'static str = "blog.add_entry";
}

async fn sign_in(
    auth: AuthSession,
    name: web::Path<String>,
) -> Result<HttpResponse, actix_django_session::Error> {
    let user = auth.auth().users().get_by_username(&name).await?.unwrap();
    auth.login(&user).await?;
    Ok(HttpResponse::Ok().finish())
}

async fn ok() -> &'static str {
    "in"
}

/// The users, by what they may do.
async fn with_users(tables: &Tables) -> Auth {
    let auth = tables.auth();
    for new in [
        NewUser::new("plain"),
        NewUser::new("writer"),
        NewUser::new("staff").staff(),
        NewUser::new("root").superuser(),
    ] {
        auth.create_user(new, None).await.unwrap();
    }
    tables.execute(
        "INSERT INTO django_content_type (id, app_label, model) VALUES (1, 'blog', 'entry'); \
         INSERT INTO auth_permission (id, name, content_type_id, codename) VALUES (1, 'p', 1, 'add_entry'); \
         INSERT INTO auth_user_user_permissions (user_id, permission_id) VALUES (2, 1)",
    );
    auth
}

/// Status and Location for nobody and each of the users.
#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn who_is_admitted() {
    const NAMES: [&str; 5] = ["", "plain", "writer", "staff", "root"];
    const TO_LOGIN: &str = "302 /accounts/login/?next=";
    for tables in Tables::both().await {
        let auth = with_users(&tables).await;
        let settings = AuthSettings::default().fresh_for(std::time::Duration::from_secs(3600));
        let auth = auth.settings(settings).unwrap();
        let service = init_service(
            App::new()
                .route("/in/{name}", web::get().to(sign_in))
                .route("/user", web::to(async |_: User| "in"))
                .route("/staff", web::to(async |_: StaffUser| "in"))
                .route("/root", web::to(async |_: Superuser| "in"))
                .route("/writer", web::to(async |_: WithPermission<AddEntry>| "in"))
                .route("/fresh", web::to(async |_: FreshLogin| "in"))
                .route("/maybe", web::to(async |_: Option<User>| "in"))
                .service(web::resource("/s/any").wrap(LoginRequired::new()).to(ok))
                .service(web::resource("/s/staff").wrap(LoginRequired::new().staff()).to(ok))
                .service(web::resource("/s/root").wrap(LoginRequired::new().superuser()).to(ok))
                .service(
                    web::resource("/s/perm").wrap(LoginRequired::new().permission("blog.add_entry")).to(ok),
                )
                .service(
                    web::resource("/s/perms")
                        .wrap(LoginRequired::new().permission("blog.add_entry").permission("blog.no"))
                        .to(ok),
                )
                .service(
                    web::resource("/s/test")
                        .wrap(LoginRequired::new().test(|user| user.username() == "plain"))
                        .to(ok),
                )
                .service(
                    web::resource("/s/back")
                        .wrap(LoginRequired::new().permission("blog.add_entry").redirect_denied())
                        .to(ok),
                )
                .service(web::resource("/s/api").wrap(LoginRequired::new().unauthorized().staff()).to(ok))
                .service(web::resource("/s/else").wrap(LoginRequired::new().login_url("/enter/?a=b")).to(ok))
                .service(
                    web::scope("/inner")
                        .wrap(
                            LoginRequired::new()
                                .unauthorized()
                                .except(|request| request.path() == "/inner/open"),
                        )
                        .route("/open", web::to(ok))
                        .route("/user", web::to(async |_: StaffUser| "in")),
                )
                .wrap(AuthMiddleware::new(auth))
                .wrap(SessionMiddleware::new(tables.store.clone())),
        )
        .await;
        let service = Rc::new(service);
        let mut cookies = Vec::new();
        for name in NAMES {
            let reply = call_service(&*service, TestRequest::get().uri(&format!("/in/{name}")).to_request());
            let reply = if name.is_empty() { None } else { Some(reply.await) };
            cookies.push(reply.map(|reply| reply.response().cookies().next().unwrap().into_owned()));
        }
        let denied = |path: &str, admitted: [u16; 4]| {
            let mut all = vec![format!("{TO_LOGIN}{path}")];
            all.extend(admitted.map(|status| status.to_string()));
            all
        };
        let rest = |nobody: &str, others: [&str; 4]| {
            [nobody].into_iter().chain(others).map(str::to_owned).collect::<Vec<_>>()
        };
        let back = format!("{TO_LOGIN}/s/back");
        for (path, expected) in [
            ("/user", denied("/user", [200, 200, 200, 200])),
            ("/staff", denied("/staff", [403, 403, 200, 200])),
            ("/root", denied("/root", [403, 403, 403, 200])),
            ("/writer", denied("/writer", [403, 200, 403, 200])),
            ("/fresh", denied("/fresh", [200, 200, 200, 200])),
            ("/maybe", rest("200", ["200"; 4])),
            ("/s/any", denied("/s/any", [200, 200, 200, 200])),
            ("/s/staff", denied("/s/staff", [403, 403, 200, 200])),
            ("/s/root", denied("/s/root", [403, 403, 403, 200])),
            ("/s/perm", denied("/s/perm", [403, 200, 403, 200])),
            ("/s/perms", denied("/s/perms", [403, 403, 403, 200])),
            ("/s/test", denied("/s/test", [200, 403, 403, 403])),
            ("/s/back", rest(&back, [&back, "200", &back, "200"])),
            ("/s/api", rest("401", ["403", "403", "200", "200"])),
            ("/s/else", rest("302 /enter/?a=b&next=/s/else", ["200"; 4])),
            ("/inner/open", rest("200", ["200"; 4])),
            ("/inner/user", rest("401", ["403", "403", "200", "200"])),
        ] {
            for method in [TestRequest::get, TestRequest::post] {
                let mut answers = Vec::new();
                for cookie in &cookies {
                    let mut request = method().uri(path);
                    if let Some(cookie) = cookie {
                        request = request.cookie(Cookie::new("sessionid", cookie.value().to_owned()));
                    }
                    let reply = call_service(&*service, request.to_request()).await;
                    let location =
                        reply.headers().get(header::LOCATION).map(|to| to.to_str().unwrap().to_owned());
                    let status = reply.status().as_u16().to_string();
                    answers
                        .push([Some(status), location].into_iter().flatten().collect::<Vec<_>>().join(" "));
                    assert!(reply.response().cookies().next().is_none(), "{path} sets a cookie");
                }
                assert_eq!(answers, expected, "{path}");
            }
        }
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_page_that_does_not_ask_varies_by_nothing() {
    let tables = Tables::sqlite().await;
    let service = init_service(
        App::new()
            .route("/plain", web::to(async |_: AuthSession| "in"))
            .route("/maybe", web::to(async |_: Option<User>| "in"))
            .service(
                web::scope("")
                    .wrap(LoginRequired::new().except(|request| request.path() == "/open"))
                    .route("/open", web::to(ok))
                    .route("/closed", web::to(ok)),
            )
            .wrap(AuthMiddleware::new(with_users(&tables).await))
            .wrap(SessionMiddleware::new(tables.store.clone())),
    )
    .await;
    // As Django 6.0 and later; 5.1 and 5.2 look at the user of public pages, too.
    for (path, varies) in [("/plain", false), ("/maybe", true), ("/open", false), ("/closed", true)] {
        let reply = call_service(&service, TestRequest::get().uri(path).to_request()).await;
        let vary = reply.headers().get(header::VARY).map(|vary| vary.to_str().unwrap().to_owned());
        assert_eq!(vary.as_deref(), varies.then_some("Cookie"), "{path}");
    }
}
