//! Races that cannot be forced from outside: Django saves or deletes a session between two steps of a save.

#![allow(clippy::unwrap_used, clippy::expect_used)] // only tests

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use super::{
    Files,
    disk::{Disk, id},
    error::FileError,
    replace::{Swapped, TemporaryFile},
    sys::{self, RenameMode},
};
use crate::{
    SessionKey,
    backend::{SiteSettings, conformance},
};

/// A directory with one session, in the middle of a save.
struct Scene {
    dir: PathBuf,
    files: Files,
    key: SessionKey,
}

impl Scene {
    async fn new() -> Self {
        let dir = std::env::temp_dir().join(SessionKey::generate().as_str());
        fs::create_dir(&dir).unwrap();
        let files = Files::open(&dir).await.unwrap();
        Self { dir, files, key: SessionKey::generate() }
    }

    /// As on a file system that cannot swap two files.
    fn without_swaps(mut self) -> Self {
        let disk = Disk { swaps: false, ..self.disk().clone() };
        self.files = Files::new(disk, &SiteSettings::default(), Default::default()).unwrap();
        self
    }

    fn disk(&self) -> &Disk {
        &self.files.0.files.disk
    }

    fn path(&self) -> PathBuf {
        self.disk().path(&self.key)
    }

    /// As Django saves: a new file, renamed over what is there.
    fn django_saves(&self, text: &str) {
        let new = self.dir.join("django");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    fn ours(&self) -> TemporaryFile {
        let until = Instant::now() + Duration::from_secs(5);
        self.disk().write(&self.key, b"ours", Some(SystemTime::now()), until).unwrap()
    }

    fn lock(&self) -> fs::File {
        self.disk().lock(&self.key, Instant::now()).unwrap().unwrap()
    }

    fn verify_swap(&self, old: &fs::File, ours: &TemporaryFile) -> Result<Swapped, FileError> {
        let ids = (id(old).unwrap(), id(&ours.file).unwrap());
        self.disk().verify_swap(ids, &ours.path, &self.path())
    }

    /// The session's file in the end, which is the only file.
    fn last(self) -> Option<String> {
        let there = fs::read_to_string(self.path()).ok();
        assert_eq!(fs::read_dir(&self.dir).unwrap().count(), usize::from(there.is_some()));
        fs::remove_dir_all(&self.dir).unwrap();
        there
    }
}

#[actix_web::test]
async fn a_save_of_django_before_the_swap_is_put_back() {
    let scene = Scene::new().await;
    scene.django_saves("old");
    let (old, ours) = (scene.lock(), scene.ours());
    scene.django_saves("django's");
    sys::rename(&ours.path, &scene.path(), RenameMode::Swap).unwrap();
    let swapped = scene.verify_swap(&old, &ours);
    assert!(matches!(swapped, Ok(Swapped::Changed)), "{swapped:?}");
    drop(ours);
    assert_eq!(scene.last().as_deref(), Some("django's"));
}

#[actix_web::test]
async fn a_second_save_of_django_after_the_swap_stays() {
    let scene = Scene::new().await;
    scene.django_saves("old");
    let (old, ours) = (scene.lock(), scene.ours());
    scene.django_saves("django's");
    sys::rename(&ours.path, &scene.path(), RenameMode::Swap).unwrap();
    scene.django_saves("django's second");
    let swapped = scene.verify_swap(&old, &ours);
    assert!(matches!(swapped, Ok(Swapped::Changed)), "{swapped:?}");
    drop(ours);
    assert_eq!(scene.last().as_deref(), Some("django's second"));
}

#[actix_web::test]
async fn a_session_that_django_deleted_stays_deleted() {
    for saved_before in [false, true] {
        let scene = Scene::new().await;
        scene.django_saves("old");
        let (old, mut ours) = (scene.lock(), scene.ours());
        let swapped = if saved_before {
            scene.django_saves("django's");
            sys::rename(&ours.path, &scene.path(), RenameMode::Swap).unwrap();
            fs::remove_file(scene.path()).unwrap();
            scene.verify_swap(&old, &ours)
        } else {
            fs::remove_file(scene.path()).unwrap();
            scene.disk().replace(&mut ours, &old, &scene.key)
        };
        assert!(matches!(swapped, Ok(Swapped::Gone)), "{swapped:?}");
        drop(ours);
        assert_eq!(scene.last(), None);
    }
}

#[actix_web::test]
async fn a_rename_that_django_overtakes_changes_nothing() {
    for swaps in [true, false] {
        let scene = Scene::new().await;
        let scene = if swaps { scene } else { scene.without_swaps() };
        scene.django_saves("old");
        let (old, mut ours, new_key) = (scene.lock(), scene.ours(), SessionKey::generate());
        scene.django_saves("django's");
        let swapped = scene.disk().rename(&mut ours, &new_key, &old, &scene.key);
        assert!(matches!(swapped, Ok(Swapped::Changed)), "{swapped:?}");
        drop(ours);
        assert_eq!(scene.last().as_deref(), Some("django's"));
    }
}

#[actix_web::test]
async fn a_save_of_django_before_a_rename_is_put_back() {
    for saved_again in [false, true] {
        let scene = Scene::new().await;
        let (disk, aside) = (scene.disk(), scene.disk().temporary(scene.key.as_str()));
        scene.django_saves("old");
        let old = scene.lock();
        scene.django_saves("django's");
        fs::rename(scene.path(), &aside).unwrap();
        if saved_again {
            scene.django_saves("django's second");
        }
        let swapped = disk.verify_removal(&old, &aside, &scene.path());
        assert!(matches!(swapped, Ok(Swapped::Changed)), "{swapped:?}");
        assert_eq!(scene.last().as_deref(), Some(if saved_again { "django's second" } else { "django's" }));
    }
}

#[actix_web::test]
async fn a_touch_that_django_overtakes_is_refused() {
    for deleted in [false, true] {
        let scene = Scene::new().await;
        scene.django_saves("old");
        let old = scene.lock();
        if deleted {
            fs::remove_file(scene.path()).unwrap();
        } else {
            scene.django_saves("django's");
        }
        match scene.disk().touch(&old, &scene.key, Some(SystemTime::UNIX_EPOCH)).unwrap() {
            Swapped::Gone => assert!(deleted),
            Swapped::Changed => {
                let modified = fs::metadata(scene.path()).unwrap().modified().unwrap();
                assert!(!deleted && modified > SystemTime::UNIX_EPOCH);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(scene.last().as_deref(), if deleted { None } else { Some("django's") });
    }
}

#[actix_web::test]
async fn the_contract_is_kept_without_swapping_files() {
    let scene = Scene::new().await.without_swaps();
    conformance::check(scene.files.clone()).await;
    assert_eq!(scene.last(), None);
}
