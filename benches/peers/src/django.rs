//! Django in a virtual environment below the target directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Result, content, process};

pub const DJANGO: &str = "Django==5.2.19";
const OTHERS: [&str; 2] = ["psycopg[binary]==3.2.13", "gunicorn==23.0.0"];

/// Installs Django, the first time, and gives the environment's `bin`.
pub fn environment(target: &Path) -> Result<PathBuf> {
    let dir = target.join("bench").join("django-env");
    let (bin, mark) = (dir.join("bin"), dir.join("complete"));
    let wanted = format!("{DJANGO} {}", OTHERS.join(" "));
    // Written last, so that an installation that was cut short is done again.
    if fs::read_to_string(&mark).is_ok_and(|there| there == wanted) {
        return Ok(bin);
    }
    println!("installing {wanted}");
    fs::remove_dir_all(&dir).ok();
    let python = std::env::var("BENCH_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    process::output(Command::new(python).args(["-m", "venv"]).arg(&dir))?;
    let mut pip = Command::new(bin.join("python"));
    process::output(pip.args(["-m", "pip", "install", "-q", DJANGO]).args(OTHERS))?;
    fs::write(&mark, &wanted)?;
    Ok(bin)
}

/// gunicorn with two processes of four threads, as Django's sites often run.
pub fn gunicorn(target: &Path, port: u16) -> Result<Command> {
    let mut gunicorn = Command::new(environment(target)?.join("gunicorn"));
    gunicorn.args(["--workers", "2", "--threads", "4", "--worker-class", "gthread", "--keep-alive", "75"]);
    gunicorn.args(["--bind", &format!("127.0.0.1:{port}"), "--chdir"]).arg(files());
    gunicorn.arg("site_under_load:application");
    gunicorn.env("BENCH_SECRET", content::SECRET).env("BENCH_HASH", content::HASH_VALUE);
    gunicorn.env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(gunicorn)
}

/// The Python files.
pub fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("django")
}
