//! When a session expires: `_session_expiry` as Django writes and reads it. No I/O here.

use std::time::{Duration, SystemTime};

use crate::{
    Error,
    codec::{
        SessionData,
        expiry::{self, StoredExpiry, stored_expiry},
        json,
    },
    datetime::{from_micros, isoformat, micros},
    settings::{ExpiryPolicy, MAX_AGE, MAX_AGE_TEXT},
};

/// 9999-12-31. Later times may be in the year 10,000 in the time zone of a site.
const END_OF_DATES: i64 = 253_402_214_400_000_000;

/// The argument of [`Session::set_expiry`](crate::Session::set_expiry): Django's forms by name.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use actix_django_session::{Expiry, Session};
///
/// let session = Session::detached();
/// session.set_expiry(Duration::from_secs(300))?;                      // set_expiry(300)
/// assert_eq!(session.get_expiry_age(), 300.0);
/// session.set_expiry(Expiry::BrowserClose)?;                          // set_expiry(0)
/// assert!(session.get_expire_at_browser_close());
/// session.set_expiry(SystemTime::now() + Duration::from_secs(3600))?; // set_expiry(timedelta(hours=1))
/// session.set_expiry(Expiry::Default)?;                               // set_expiry(None)
/// # Ok::<(), actix_django_session::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expiry {
    /// As the settings say. `set_expiry(None)`.
    Default,
    /// The browser drops the cookie when it closes, and the row expires after the cookie age.
    /// `set_expiry(0)`.
    BrowserClose,
    /// Django's number, `set_expiry(seconds)`: this many seconds after each save. Expired at once if
    /// negative, [`BrowserClose`](Self::BrowserClose) if zero.
    Seconds(i64),
    /// This long after each save (not after each read). `set_expiry(seconds)`; but zero expires at once here,
    /// since it is what remains of a deadline that has passed.
    After(Duration),
    /// At a fixed time. `set_expiry(datetime)`. For a `timedelta`, add it to the present time.
    At(SystemTime),
}

/// As Django's number, see [`Expiry::Seconds`].
impl From<i64> for Expiry {
    fn from(seconds: i64) -> Self {
        Self::Seconds(seconds)
    }
}

impl From<Duration> for Expiry {
    fn from(after: Duration) -> Self {
        Self::After(after)
    }
}

impl From<SystemTime> for Expiry {
    fn from(at: SystemTime) -> Self {
        Self::At(at)
    }
}

impl Expiry {
    /// The JSON value to store; `None` removes it. Errors if Django could not read or save it.
    pub(crate) fn to_json(self) -> Result<Option<String>, Error> {
        let after = match self {
            Self::Seconds(seconds) => Duration::from_secs(seconds.unsigned_abs()),
            Self::After(after) => after,
            _ => Duration::ZERO,
        };
        if after > MAX_AGE {
            return Err(Error::value(format!(
                "a session can expire {MAX_AGE_TEXT} after a save at most: Django cannot store a later date"
            )));
        }
        Ok(match self {
            Self::Default => None,
            Self::BrowserClose => Some("0".to_owned()),
            Self::Seconds(seconds) => Some(seconds.to_string()),
            Self::After(Duration::ZERO) => Some("-1".to_owned()),
            Self::After(after) if after.subsec_nanos() == 0 => Some(after.as_secs().to_string()),
            Self::After(after) => json::to_json(&after.as_secs_f64()).ok(),
            Self::At(at) if micros(at) >= END_OF_DATES => {
                return Err(Error::value(
                    "a session has to expire before 9999-12-31: Django cannot store a later date",
                ));
            }
            Self::At(at) => Some(format!("\"{}\"", isoformat(at))),
        })
    }
}

/// Seconds from `now` until the session expires; whole ones, unless the application set others. Django's
/// `get_expiry_age`.
pub(crate) fn age(data: &SessionData, policy: ExpiryPolicy, now: SystemTime) -> f64 {
    match stored_expiry(data) {
        StoredExpiry::Seconds(seconds) if seconds != 0.0 => seconds,
        StoredExpiry::Date(date) => (micros(date) - micros(now)).div_euclid(1_000_000) as f64,
        _ => policy.cookie_age.as_secs() as f64,
    }
}

/// When the session expires. Django's `get_expiry_date`.
pub(crate) fn date(data: &SessionData, policy: ExpiryPolicy, now: SystemTime) -> SystemTime {
    expiry::date(data, policy.cookie_age, now)
}

/// The same for the store: rounded up to a multiple of a thousandth of the session's age, if the policy says
/// so. A date that the application chose is the same at each save, and stays exact.
pub(crate) fn stored_date(data: &SessionData, policy: ExpiryPolicy, now: SystemTime) -> SystemTime {
    let exact = date(data, policy, now);
    if !policy.rounded || matches!(stored_expiry(data), StoredExpiry::Date(_)) {
        return exact;
    }
    let step = (age(data, policy, now) * 1000.0) as i64; // in microseconds
    if step <= 0 {
        return exact; // expired already
    }
    let steps = i128::from(micros(exact) - 1).div_euclid(i128::from(step)) + 1;
    from_micros(i64::try_from(steps * i128::from(step)).unwrap_or(i64::MAX))
}

/// Whether the browser drops the cookie when it closes. Django's `get_expire_at_browser_close`.
pub(crate) fn at_browser_close(data: &SessionData, policy: ExpiryPolicy) -> bool {
    match stored_expiry(data) {
        StoredExpiry::None => policy.expire_at_browser_close,
        StoredExpiry::Seconds(seconds) => seconds == 0.0,
        StoredExpiry::Date(_) | StoredExpiry::Invalid => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::codec::EXPIRY_KEY;

    /// Answers of real Django, made by tests/django/make_vectors.py.
    fn vectors(kind: &str) -> Vec<Value> {
        let file = include_str!("../../tests/vectors/expiry.json");
        let file: Value = serde_json::from_str(file).unwrap();
        let all = file["vectors"].as_array().unwrap();
        let found: Vec<Value> = all.iter().filter(|v| v["kind"] == kind).cloned().collect();
        assert!(found.len() > 100, "{kind}");
        found
    }

    fn with_expiry(stored: &Value) -> SessionData {
        let mut data = SessionData::default();
        if let Some(stored) = stored.as_str() {
            data.set(EXPIRY_KEY, stored.into());
        }
        data
    }

    #[test]
    fn expiry_is_read_as_django_reads_it() {
        // CPython accepts these malformed texts, which nothing writes. The last two are outside Python's
        // years once they are in UTC.
        let slips = [
            "23:13:20 Z",
            "23:13:20 +00:00",
            "23:13:20+00:00:00.000001",
            "22.5+00:00",
            "22:13.5+00:00",
            "20.+00:00",
            "20.1234567x+00:00",
            "20:25+00:00",
            "+05:60",
            "200Z",
            "\\ud800",
            "\\ud83d",
            "\\u00e9",
            "0001-01-01T00:00:00+05:30",
            "9999-12-31T23:59:59-05:30",
        ];
        // Only Python 3.11 and newer read these forms, and no Django writes them: weeks, decimal commas, and
        // dates, times and offsets without separators.
        let basic_formats = ["-W", "2023W", "\"20231114", "T231320", "+0530", "20,25"];
        let skipped = |stored: &str| slips.iter().chain(&basic_formats).any(|form| stored.contains(form));
        for v in vectors("read") {
            if v["stored"].as_str().is_some_and(skipped) {
                continue;
            }
            let data = with_expiry(&v["stored"]);
            let now = from_micros(v["now_micros"].as_i64().unwrap());
            let policy = |expire_at_browser_close| ExpiryPolicy {
                cookie_age: Duration::from_secs(1_209_600),
                expire_at_browser_close,
                rounded: false,
            };
            // Where Django answers 500, or has a time without a zone, we have an answer of our own.
            let no_answer = |v: &Value| v.get("error").is_some() || v.get("naive").is_some();
            if !no_answer(&v["age"]) && !no_answer(&v["date_micros"]) {
                if let Some(expected) = v["age"].as_f64() {
                    assert_eq!(age(&data, policy(false), now), expected, "{v}");
                }
                if let Some(expected) = v["date_micros"].as_i64() {
                    assert_eq!(micros(date(&data, policy(false), now)), expected, "{v}");
                }
                for (setting, name) in [(false, "browser_close_false"), (true, "browser_close_true")] {
                    assert_eq!(at_browser_close(&data, policy(setting)), v[name] == true, "{v}");
                }
            } else if v["age"].get("error").is_some() && v["date_micros"].get("naive").is_none() {
                assert_eq!(age(&data, policy(false), now), 1_209_600.0, "{v}");
            }
        }
    }

    #[test]
    fn an_age_beyond_all_dates_has_a_date_too() {
        let policy = ExpiryPolicy {
            cookie_age: Duration::from_secs(60),
            expire_at_browser_close: false,
            rounded: true,
        };
        let now = from_micros(1_700_000_000_000_000);
        for seconds in ["1e15", "1e300", "99999999999999999999"] {
            let data = with_expiry(&seconds.into());
            assert_eq!(stored_date(&data, policy, now), from_micros(i64::MAX), "{seconds}");
        }
        let soon = with_expiry(&"-1e300".into());
        assert!(stored_date(&soon, policy, now) < now);
    }

    /// Half of the ages and times are those at which something could change.
    fn ages() -> impl Strategy<Value = i64> {
        let longest = MAX_AGE.as_secs() as i64;
        let century = 100 * 365 * 86_400;
        prop_oneof![
            proptest::sample::select(vec![1, 2, 999, 86_400, 1_209_600, century, longest]),
            1..longest
        ]
    }

    fn times() -> impl Strategy<Value = i64> {
        let (first, last) = (micros(from_micros(i64::MIN)), micros(from_micros(i64::MAX)));
        let edges = vec![first, -1_209_600_000_000, -1, 0, 1, 1_700_000_000_000_000, last - 1, last];
        prop_oneof![proptest::sample::select(edges), first..=last]
    }

    proptest! {
        #[test]
        fn a_stored_date_is_rounded_up_by_a_thousandth_of_the_age_at_most(
            age in ages(),
            by_setting: bool,
            saved in times(),
            later in 0..100_000_000_000_i64,
        ) {
            let policy = |rounded| ExpiryPolicy {
                cookie_age: Duration::from_secs(if by_setting { age as u64 } else { 60 }),
                expire_at_browser_close: false,
                rounded,
            };
            let data = match by_setting {
                true => SessionData::default(),
                false => with_expiry(&age.to_string().into()),
            };
            let at = |saved, rounded| micros(stored_date(&data, policy(rounded), from_micros(saved)));
            let (exact, stored) = (at(saved, false), at(saved, true));
            prop_assert_eq!(exact, micros(date(&data, policy(true), from_micros(saved))));
            let step = age * 1000;
            prop_assert!(exact <= stored && stored - exact < step, "{} {}", exact, stored);
            // A later save never expires earlier. Within the step, it expires at the same time.
            let later = saved.saturating_add(later);
            prop_assert!(at(later, true) >= stored);
            prop_assert_eq!(at(later, false) <= stored, at(later, true) == stored);
        }

        #[test]
        fn a_date_of_the_application_is_stored_exactly(at in times(), saved in times()) {
            let data = with_expiry(&format!("\"{}\"", isoformat(from_micros(at))).into());
            let policy = ExpiryPolicy {
                cookie_age: Duration::from_secs(60),
                expire_at_browser_close: false,
                rounded: true,
            };
            prop_assert_eq!(micros(stored_date(&data, policy, from_micros(saved))), at);
        }
    }

    #[test]
    fn dates_are_written_as_django_writes_them() {
        for v in vectors("set") {
            let now = from_micros(v["now_micros"].as_i64().unwrap());
            let micros = |name: &str| v["call"][name].as_i64();
            let expiry = if let Some(after) = micros("timedelta_micros") {
                Expiry::At(from_micros(super::micros(now) + after))
            } else if let Some(at) = micros("datetime_micros").filter(|_| v["call"]["offset"] == 0) {
                Expiry::At(from_micros(at))
            } else if v["call"]["number"] == "0" {
                Expiry::BrowserClose
            } else if let Some(seconds) = v["call"]["number"].as_str().and_then(|n| n.parse().ok()) {
                Expiry::After(Duration::from_secs(seconds))
            } else {
                continue;
            };
            if let Some(stored) = v["stored"].as_str() {
                match expiry.to_json() {
                    Ok(written) => assert_eq!(written.as_deref(), Some(stored), "{v}"),
                    Err(_) => assert!(matches!(expiry, Expiry::After(after) if after > MAX_AGE), "{v}"),
                }
            }
        }
    }
}
