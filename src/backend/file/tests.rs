//! What cannot be brought about from outside: a Django that saves or ends a session between two steps of ours.

#![allow(clippy::unwrap_used, clippy::expect_used)] // only tests

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use super::{
    FileStore,
    disk::identity,
    place::{Placed, Swap, Temporary},
    sys,
    trouble::Trouble,
};
use crate::{SecretKey, SessionKey, store::conformance};

/// A directory with one session, and the moment in which an update of it has put its file in place.
struct Scene {
    dir: PathBuf,
    store: FileStore,
    key: SessionKey,
}

impl Scene {
    async fn new() -> Self {
        let dir = std::env::temp_dir().join(SessionKey::generate().as_str());
        fs::create_dir(&dir).unwrap();
        let store = FileStore::open(&dir, SecretKey::new("a secret")).await.unwrap();
        Self { dir, store, key: SessionKey::generate() }
    }

    fn path(&self) -> PathBuf {
        self.store.0.disk.path(&self.key)
    }

    /// As Django saves: a new file, renamed over what is there.
    fn django_saves(&self, text: &str) {
        let new = self.dir.join("django");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    fn ours(&self) -> Temporary {
        let until = Instant::now() + Duration::from_secs(5);
        self.store.0.disk.write(&self.key, "ours", Some(SystemTime::now()), until).unwrap()
    }

    fn lock(&self) -> fs::File {
        self.store.0.disk.lock(&self.key, Instant::now()).unwrap().unwrap()
    }

    fn look_at_what_came_out(&self, old: &fs::File, ours: &Temporary) -> Result<Placed, Trouble> {
        let ids = Swap { old: identity(old).unwrap(), new: identity(&ours.file).unwrap() };
        self.store.0.disk.look_at_what_came_out(&ids, &ours.path, &self.path())
    }

    /// What is there under the session's name in the end, and that it is all that is there.
    fn end(self) -> Option<String> {
        let there = fs::read_to_string(self.path()).ok();
        assert_eq!(fs::read_dir(&self.dir).unwrap().count(), usize::from(there.is_some()));
        fs::remove_dir_all(&self.dir).unwrap();
        there
    }
}

#[actix_web::test]
async fn what_django_saved_before_the_swap_is_put_back() {
    let scene = Scene::new().await;
    scene.django_saves("old");
    let (old, ours) = (scene.lock(), scene.ours());
    scene.django_saves("django's");
    sys::exchange(&ours.path, &scene.path()).unwrap();
    let placed = scene.look_at_what_came_out(&old, &ours);
    assert!(matches!(placed, Ok(Placed::Changed)), "{placed:?}");
    drop(ours);
    assert_eq!(scene.end().as_deref(), Some("django's"));
}

#[actix_web::test]
async fn what_django_saved_after_the_swap_too_stays_where_it_is() {
    let scene = Scene::new().await;
    scene.django_saves("old");
    let (old, ours) = (scene.lock(), scene.ours());
    scene.django_saves("django's");
    sys::exchange(&ours.path, &scene.path()).unwrap();
    scene.django_saves("django's second");
    let placed = scene.look_at_what_came_out(&old, &ours);
    assert!(matches!(placed, Ok(Placed::Changed)), "{placed:?}");
    drop(ours);
    assert_eq!(scene.end().as_deref(), Some("django's second"));
}

#[actix_web::test]
async fn what_django_ended_stays_ended() {
    for saved_before in [false, true] {
        let scene = Scene::new().await;
        scene.django_saves("old");
        let (old, mut ours) = (scene.lock(), scene.ours());
        let placed = if saved_before {
            scene.django_saves("django's");
            sys::exchange(&ours.path, &scene.path()).unwrap();
            fs::remove_file(scene.path()).unwrap();
            scene.look_at_what_came_out(&old, &ours)
        } else {
            fs::remove_file(scene.path()).unwrap();
            scene.store.0.disk.put_over(&mut ours, &old, &scene.key)
        };
        assert!(matches!(placed, Ok(Placed::Gone)), "{placed:?}");
        drop(ours);
        assert_eq!(scene.end(), None);
    }
}

#[actix_web::test]
async fn a_rename_that_django_overtakes_leaves_django_s() {
    for swaps in [true, false] {
        let mut scene = Scene::new().await;
        scene.store = scene.store.change(|inner| inner.disk.swaps = swaps);
        scene.django_saves("old");
        let (old, mut ours, new_key) = (scene.lock(), scene.ours(), SessionKey::generate());
        scene.django_saves("django's");
        let placed = scene.store.0.disk.put_beside(&mut ours, &new_key, &old, &scene.key);
        assert!(matches!(placed, Ok(Placed::Changed)), "{placed:?}");
        drop(ours);
        assert_eq!(scene.end().as_deref(), Some("django's"));
    }
}

#[actix_web::test]
async fn what_django_saved_before_a_rename_took_it_away_is_put_back() {
    for saved_again in [false, true] {
        let scene = Scene::new().await;
        let (disk, aside) = (&scene.store.0.disk, scene.store.0.disk.temporary(scene.key.as_str()));
        scene.django_saves("old");
        let old = scene.lock();
        scene.django_saves("django's");
        fs::rename(scene.path(), &aside).unwrap();
        if saved_again {
            scene.django_saves("django's second");
        }
        let placed = disk.look_at_what_is_aside(&old, &aside, &scene.path());
        assert!(matches!(placed, Ok(Placed::Changed)), "{placed:?}");
        assert_eq!(scene.end().as_deref(), Some(if saved_again { "django's second" } else { "django's" }));
    }
}

/// As on a file system that cannot swap two files.
#[actix_web::test]
async fn the_contract_is_kept_without_swapping_files() {
    let scene = Scene::new().await;
    conformance::check(scene.store.clone().change(|inner| inner.disk.swaps = false)).await;
    assert_eq!(scene.end(), None);
}
