//! `list`: the live sessions of a site, or the expired ones.

use serde_json::json;

use crate::{
    args::ListArgs,
    exit::{Exit, Failure},
    output::{Out, date, from_now, iso, printable, shown},
    site::Site,
};

pub(crate) async fn run(
    site: &Site,
    args: &ListArgs,
    full_keys: bool,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let mut sessions = site.store().await?.sessions();
    let mut listed = 0;
    while args.limit.is_none_or(|limit| listed < limit) {
        let Some(session) = sessions.next().await? else { break };
        let user = session.user_id();
        if session.is_expired() != args.expired || (args.user.is_some() && args.user != user) {
            continue;
        }
        listed += 1;
        let key = shown(session.key.as_str(), full_keys);
        let why = session.data.as_ref().err().map(|error| error.to_string());
        if args.json {
            let expires = iso(session.expires);
            out.line(json!({"key": key, "user": user, "expires": expires, "unreadable": why}))?;
            continue;
        }
        let user = match (&user, &why) {
            (Some(user), _) => format!("user {}", printable(user)),
            (None, None) => "anonymous".to_owned(),
            (None, Some(_)) => "unreadable".to_owned(),
        };
        let (date, from_now) = (date(session.expires), from_now(session.expires));
        let why = why.map(|why| format!("  {why}")).unwrap_or_default();
        out.line(format_args!("{key}  {user:<20}  {date}  {from_now}{why}"))?;
    }
    Ok(Exit::Done)
}
