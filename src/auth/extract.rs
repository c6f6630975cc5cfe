//! The user as a handler's argument.

use std::{
    future::{Future, Ready, ready},
    marker::PhantomData,
    ops::Deref,
    pin::Pin,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload};

use super::{AuthSession, User, required::Rules};
use crate::Error;

type Extracted<T> = Pin<Box<dyn Future<Output = Result<T, Error>>>>;

impl FromRequest for AuthSession {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

/// Loads the user and applies a further condition. A visitor who is not logged in is sent to the login page.
fn extract<T, F>(request: &HttpRequest, admit: impl FnOnce(AuthSession, User) -> F + 'static) -> Extracted<T>
where
    F: Future<Output = Result<T, Error>>,
{
    let (auth, rules) = (AuthSession::of(request), Rules::of(request));
    Box::pin(async move {
        let auth = auth?;
        match auth.known_user().await? {
            Some(user) => admit(auth, user).await,
            None => Err(rules.login_required(&auth)),
        }
    })
}

impl FromRequest for User {
    type Error = Error;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        extract(request, async |_, user| Ok(user))
    }
}

/// A user who may enter Django's admin (`is_staff`). Other users get a 403.
///
/// ```
/// use actix_django_session::auth::StaffUser;
///
/// async fn view(StaffUser(user): StaffUser) -> String {
///     format!("Hello {}", user.username())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct StaffUser(pub User);

impl FromRequest for StaffUser {
    type Error = Error;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        extract(request, async |_, user| match user.is_active() && user.is_staff() {
            true => Ok(Self(user)),
            false => Err(Error::forbidden("the user is not staff")),
        })
    }
}

/// A user who has all permissions (`is_superuser`). Other users get a 403.
#[derive(Clone, Debug)]
pub struct Superuser(pub User);

impl FromRequest for Superuser {
    type Error = Error;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        extract(request, async |_, user| match user.is_active() && user.is_superuser() {
            true => Ok(Self(user)),
            false => Err(Error::forbidden("the user is no superuser")),
        })
    }
}

/// The name of a permission, for [`WithPermission`].
pub trait PermissionName: 'static {
    /// `app_label.codename`.
    const NAME: &'static str;
}

/// A user with a permission. Other users get a 403. Django's `permission_required` with `raise_exception`,
/// except that a visitor who is not logged in is sent to the login page.
///
/// ```
/// use actix_django_session::auth::{PermissionName, WithPermission};
///
/// struct AddEntry;
///
/// impl PermissionName for AddEntry {
///     const NAME: &'static str = "blog.add_entry";
/// }
///
/// async fn view(user: WithPermission<AddEntry>) -> String {
///     format!("Write, {}!", user.username())
/// }
/// ```
#[derive(Debug)]
pub struct WithPermission<P>(User, PhantomData<fn() -> P>);

impl<P> WithPermission<P> {
    /// Returns the user.
    pub fn into_user(self) -> User {
        self.0
    }
}

impl<P> Deref for WithPermission<P> {
    type Target = User;

    fn deref(&self) -> &User {
        &self.0
    }
}

impl<P: PermissionName> FromRequest for WithPermission<P> {
    type Error = Error;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        extract(request, async |_, user| match user.has_perm(P::NAME).await? {
            true => Ok(Self(user, PhantomData)),
            false => Err(Error::forbidden("the user lacks a permission")),
        })
    }
}

/// A user who has entered the password within [`AuthSettings::fresh_for`](super::AuthSettings::fresh_for):
/// for actions that a stolen session must not do. Others are sent to
/// [`AuthSettings::confirm_url`](super::AuthSettings::confirm_url), a page that calls
/// [`AuthSession::confirm_password`](super::AuthSession::confirm_password).
///
/// A password that was entered on Django's login page does not count: nobody knows when that was. So a site
/// whose only login page is Django's needs such a page.
///
/// ```
/// use actix_django_session::auth::FreshLogin;
///
/// async fn delete_account(FreshLogin(user): FreshLogin) -> String {
///     format!("good bye, {}", user.username())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct FreshLogin(pub User);

impl FromRequest for FreshLogin {
    type Error = Error;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let rules = Rules::of(request);
        extract(request, async move |auth, user| match auth.is_fresh().await? {
            true => Ok(Self(user)),
            false => Err(rules.confirmation_required(&auth)),
        })
    }
}
