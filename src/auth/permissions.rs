//! Permissions of a user, and extractors that need one.

use std::collections::BTreeSet;

/// The permissions of a user as texts `app_label.codename`. See [`User::permissions`](super::User::permissions).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    own: BTreeSet<String>,
    of_groups: BTreeSet<String>,
    all: BTreeSet<String>,
}

impl Permissions {
    /// From rows of the kind (`u`, `g`, or `a` for a superuser) and the permission.
    pub(crate) fn new(rows: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut permissions = Self::default();
        for (kind, name) in rows {
            if kind != "g" {
                permissions.own.insert(name.clone());
            }
            if kind != "u" {
                permissions.of_groups.insert(name.clone());
            }
            permissions.all.insert(name);
        }
        permissions
    }

    /// Those that the user has, in any way. A superuser has all that exist. Django's `get_all_permissions`.
    pub fn all(&self) -> &BTreeSet<String> {
        &self.all
    }

    /// Those that were given to the user. Django's `get_user_permissions`.
    pub fn own(&self) -> &BTreeSet<String> {
        &self.own
    }

    /// Those of the user's groups. Django's `get_group_permissions`.
    pub fn of_groups(&self) -> &BTreeSet<String> {
        &self.of_groups
    }

    /// The app of a permission is the text before its **first** dot, as in Django.
    pub(crate) fn has_module(&self, app_label: &str) -> bool {
        self.all.iter().any(|name| name.split('.').next() == Some(app_label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_ends_at_the_first_dot() {
        let row = |kind: &str, name: &str| (kind.to_owned(), name.to_owned());
        let permissions = Permissions::new([row("u", "blog.sub.view_x"), row("g", "shop.add_cart")]);
        assert!(permissions.has_module("blog") && !permissions.has_module("blog.sub"));
        assert_eq!(permissions.all().len(), 2);
        assert!(
            permissions.own().contains("blog.sub.view_x") && !permissions.own().contains("shop.add_cart")
        );
        assert_eq!(permissions.of_groups().len(), 1);
        let all = Permissions::new([row("a", "x.y")]);
        assert_eq!((all.own(), all.of_groups()), (all.all(), all.all()));
    }
}
