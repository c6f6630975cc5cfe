//! The guide: longer texts, one page for each question.
//!
//! | page | answers |
//! |---|---|
//! | [`getting_started`] | From an empty project to a tested handler: quickstart, login, tasks, cleaning. |
//! | [`login`] | Stay logged in while you migrate: users, login and logout on both sides. |
//! | [`from_django`] | What are Django's settings, methods and commands called here? |
//! | [`users`] | Which table and columns do my users have? Models of your own, further columns. |
//! | [`deviations`] | Where does this crate leave Django on purpose, and why? |
//! | [`engines`] | Where are sessions kept? URLs, parameters, guarantees, a backend of your own. |
//! | [`csrf`] | How are forms protected, alone and beside Django? |
//! | [`concurrency`] | How are saves merged, what counts exactly, what do 400 and 503 mean? |
//! | [`messages`] | Messages: setting up, storages, what is shared with Django. |
//! | [`running`] | PgBouncer, TLS, failover, cleaning, the tool, logs and secrets. |
//! | [`metrics`] | What can be measured from outside? Names, alerts, a dashboard, spans. |
//! | [`growing`] | One server, partitions, several servers: which step, and how to take it? |
//! | [`performance`] | How fast is it, and how was that measured? |
//! | [`testing`] | How do I test my application? |
//! | [`promises`] | What is promised, and which test shows it? |
//! | [`comparison`] | Django, actix-session, tower-sessions with axum-login, scs. |
//! | [`moving_from_actix_session`] | Step by step, with or without the live sessions. |
//! | [`contributing`] | Tests, the map of the source, style. |
//!
//! These modules exist in the documentation only. Their code is compiled and run as doc tests.

#[doc = include_str!("guide/getting_started.md")]
pub mod getting_started {}

#[cfg(feature = "auth")]
#[doc = include_str!("guide/login.md")]
pub mod login {}

#[doc = include_str!("guide/from_django.md")]
pub mod from_django {}

#[cfg(feature = "auth")]
#[doc = include_str!("guide/users.md")]
pub mod users {}

#[doc = include_str!("guide/deviations.md")]
pub mod deviations {}

#[doc = include_str!("guide/engines.md")]
pub mod engines {}

#[doc = include_str!("guide/csrf.md")]
pub mod csrf {}

#[doc = include_str!("guide/concurrency.md")]
pub mod concurrency {}

#[cfg(feature = "messages")]
#[doc = include_str!("guide/messages.md")]
pub mod messages {}

#[doc = include_str!("guide/running.md")]
pub mod running {}

#[doc = include_str!("guide/metrics.md")]
pub mod metrics {}

#[doc = include_str!("guide/growing.md")]
pub mod growing {}

#[doc = include_str!("guide/performance.md")]
pub mod performance {}

#[doc = include_str!("guide/testing.md")]
pub mod testing {}

#[doc = include_str!("guide/promises.md")]
pub mod promises {}

#[doc = include_str!("guide/comparison.md")]
pub mod comparison {}

#[doc = include_str!("guide/moving_from_actix_session.md")]
pub mod moving_from_actix_session {}

#[doc = include_str!("guide/contributing.md")]
pub mod contributing {}
