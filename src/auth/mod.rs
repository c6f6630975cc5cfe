//! Django's login: who the visitor is, on the tables and the session keys that a Django site uses.

mod authenticate;
mod backends;
mod extract;
#[cfg(feature = "cli")]
mod inspect;
mod lifetime;
mod login;
mod middleware;
pub mod next_url;
pub mod password;
mod permissions;
mod required;
mod session_hash;
mod session_user;
mod settings;
mod throttle;
mod user_sessions;
mod users;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub use self::inspect::{LoginState, SessionLogin};
pub use self::{
    authenticate::Auth,
    backends::{AcceptedBackend, AuthBackend, Authenticated, Credentials, ModelBackend, RemoteUserBackend},
    extract::{FreshLogin, PermissionName, StaffUser, Superuser, WithPermission},
    login::AuthSession,
    middleware::AuthMiddleware,
    permissions::Permissions,
    required::LoginRequired,
    settings::AuthSettings,
    throttle::{DatabaseThrottle, LoginAttempt, LoginThrottle},
    user_sessions::UserSession,
    users::{NewUser, User, UserField, UserKey, UserModel, Users},
};
