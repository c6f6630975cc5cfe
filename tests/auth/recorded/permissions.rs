//! Permissions of users and groups: which there are, and who has them.

use actix_django_session::auth::Users;
use serde::Deserialize;

use super::file::{Case, Recording};
use crate::users::Tables;

#[derive(Debug, Deserialize, PartialEq)]
struct Rights {
    all: Vec<String>,
    own: Vec<String>,
    groups: Vec<String>,
    has: Vec<bool>,
    modules: Vec<bool>,
    has_perms: Vec<bool>,
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn permissions_are_those_of_django() {
    let recording = Recording::read();
    for tables in Tables::both().await {
        fill(&recording, &tables);
        for case in recording.of("permissions") {
            let ours = rights(&recording, &tables.users, &case.user).await;
            assert_eq!(ours, case.outcome("PostgreSQL"), "{}", case.user);
        }
    }
    assert_eq!(recording.of("permissions").count(), 8);
}

async fn rights(recording: &Recording, users: &Users, name: &str) -> Rights {
    let user = users.get_by_username(name).await.unwrap().unwrap();
    let (asked, mut has, mut modules, mut has_perms) = (&recording.tables.asked, vec![], vec![], vec![]);
    for text in asked {
        has.push(user.has_perm(text).await.unwrap());
    }
    for text in &recording.tables.modules {
        modules.push(user.has_module_perms(text).await.unwrap());
    }
    for n in 0..4 {
        has_perms.push(user.has_perms(&asked[..n]).await.unwrap());
    }
    let permissions = user.permissions().await.unwrap();
    let [all, own, groups] = [permissions.all(), permissions.own(), permissions.of_groups()]
        .map(|set| set.iter().cloned().collect::<Vec<_>>());
    Rights { all, own, groups, has, modules, has_perms }
}

/// Stores the recorded permissions and groups, and the users of all cases.
fn fill(recording: &Recording, tables: &Tables) {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut sql = String::new();
    for (id, app, model) in &recording.tables.types {
        let (app, model) = (quoted(app), quoted(model));
        sql +=
            &format!("INSERT INTO django_content_type (id, app_label, model) VALUES ({id}, {app}, {model});");
    }
    for (id, content_type, codename) in &recording.tables.permissions {
        let codename = quoted(codename);
        sql += &format!(
            "INSERT INTO auth_permission (id, name, content_type_id, codename) \
             VALUES ({id}, 'p', {content_type}, {codename});"
        );
    }
    for (id, name, held) in &recording.tables.groups {
        sql += &format!("INSERT INTO auth_group (id, name) VALUES ({id}, {});", quoted(name));
        for permission in held {
            sql += &format!(
                "INSERT INTO auth_group_permissions (group_id, permission_id) VALUES ({id}, {permission});"
            );
        }
    }
    for (id, case) in recording.of("permissions").enumerate() {
        sql += &user(id, case);
    }
    tables.execute(&sql);
}

fn user(id: usize, case: &Case) -> String {
    let is = |name: &str, default| case.fields.get(name).copied().unwrap_or(default);
    let (superuser, staff) = (is("is_superuser", false), is("is_staff", false));
    let active = is("is_active", true);
    let mut sql = format!(
        "INSERT INTO auth_user (id, password, username, is_superuser, first_name, last_name, email, is_staff, \
         is_active, date_joined) VALUES ({id}, '', '{}', {superuser}, '', '', '', {staff}, {active}, '2026-01-01');",
        case.user
    );
    for group in &case.groups {
        sql += &format!("INSERT INTO auth_user_groups (user_id, group_id) VALUES ({id}, {group});");
    }
    for permission in &case.own {
        sql += &format!(
            "INSERT INTO auth_user_user_permissions (user_id, permission_id) VALUES ({id}, {permission});"
        );
    }
    sql
}
