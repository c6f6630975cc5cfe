//! A hot standby never answers a read: it may be behind, and a visitor who has just logged in would be
//! logged out.

use crate::{
    support::postgres::{PrivateServer, TABLE},
    target::{Target, counter, create, increment, ok, open},
};

/// The standby comes first in the URL, and applies nothing for an hour.
#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_session_can_be_read_right_after_its_login() {
    let primary = PrivateServer::start(&[("wal_keep_size", "64MB")]);
    primary.query(TABLE);
    let standby = primary.standby("behind", &[("recovery_min_apply_delay", "1h")]);
    let url = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=read-write",
        standby.port(),
        primary.port()
    );
    let target = Target::new(url);
    let stores = [target.store().await, target.store().await];
    for round in 0..20 {
        let key = create(&stores[round % 2]).await;
        ok("save", increment(&stores[(round + 1) % 2], &key).await);
        assert_eq!(counter(&stores[round % 2], &key).await, 1);
        assert!(ok("delete", stores[round % 2].delete(&key).await));
        assert!(open(&stores[(round + 1) % 2], &key).await.is_none());
    }
    create(&stores[0]).await;
    let behind = Target::new(standby.url()).admin().await.unwrap();
    assert_eq!(behind.count().await, 0, "the standby is not behind, so this shows nothing");
}
