//! Changing a session that was read.

use actix_django_session::codec::SessionData;

use crate::{items, reference::bare};

/// Sets and removes a key, and looks at what that did to it and to the others. Whether the value was taken.
pub fn check(data: &SessionData, key: &str, value: &str) -> bool {
    let others = |data: &SessionData| -> Vec<_> {
        items(data).into_iter().filter(|(other, _)| other != key).collect()
    };
    let mut changed = data.clone();
    let taken = changed.set_json(key, value).is_ok();
    assert_eq!(others(&changed), others(data));
    if taken {
        assert_eq!(changed.get_json(key), Some(bare(value)));
        assert_eq!(items(&changed).iter().filter(|(other, _)| other == key).count(), 1);
        // The place of a key that was there is kept; a new one comes last.
        let place = |data: &SessionData| data.keys().iter().position(|other| other == key);
        assert_eq!(place(&changed), place(data).or(Some(data.keys().len())));
        // The data reads the same before and after a save. Python-only values are not JSON.
        if let Ok(saved) = SessionData::from_json(changed.to_json()) {
            assert_eq!(items(&saved), items(&changed));
        }
    } else {
        assert_eq!(changed.to_json(), data.to_json());
    }
    let there = changed.get_json(key).is_some();
    assert_eq!(changed.remove(key), there);
    assert!(changed.get_json(key).is_none() && !changed.remove(key));
    assert_eq!(items(&changed), others(data));
    taken
}
