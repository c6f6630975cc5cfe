//! The Python that runs Django: the visitor's own, or a virtual environment below the demo's directory.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use actix_django_session::auth::password::DjangoVersion;

const PACKAGES: [&str; 2] = ["Django>=5.2,<6.2", "gunicorn>=23,<28"];

/// Returns the Python to use. Installs Django into a virtual environment where that is not done yet.
pub(crate) fn find(dir: &Path) -> Result<PathBuf, String> {
    if let Some(own) = env::var_os("PYTHON").map(PathBuf::from) {
        let check = "import django, gunicorn; assert django.VERSION >= (5, 2), django.get_version()";
        return match output(Command::new(&own).args(["-c", check])) {
            Ok(_) => Ok(own),
            Err(why) => Err(format!(
                "PYTHON is {}, which needs Django 5.2 or newer and gunicorn. Install them there, or unset \
                 PYTHON to have a virtual environment made: {why}",
                own.display()
            )),
        };
    }
    let venv = dir.join("venv");
    let python = venv.join("bin/python");
    // Written last, so that an installation that was cut short is done again.
    let complete = venv.join("complete");
    let wanted = PACKAGES.join("\n");
    if fs::read_to_string(&complete).is_ok_and(|text| text == wanted)
        && output(Command::new(&python).args(["-c", "import django"])).is_ok()
    {
        return Ok(python);
    }
    check_system_python()?;
    println!("Installing Django into {} (the first start only)", venv.display());
    if let Err(error) = fs::remove_dir_all(&venv)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(format!("cannot remove {}: {error}", venv.display()));
    }
    let made = output(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    made.map_err(|why| format!("python3 cannot make a virtual environment in {}: {why}", venv.display()))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    output(Command::new(&python).args(pip).args(PACKAGES)).map_err(|why| {
        format!(
            "pip cannot install Django. It needs the network, or a package index as PIP_INDEX_URL. PYTHON can \
             name a Python that has Django and gunicorn already: {why}"
        )
    })?;
    fs::write(&complete, wanted).map_err(|error| format!("cannot write {}: {error}", complete.display()))?;
    Ok(python)
}

/// Returns the version of its Django, which decides how passwords are hashed.
pub(crate) fn django_version(python: &Path) -> Result<DjangoVersion, String> {
    let print = "import django; print('%d.%d' % django.VERSION[:2])";
    let version = output(Command::new(python).args(["-c", print]))?.stdout;
    match String::from_utf8_lossy(&version).trim() {
        "5.2" => Ok(DjangoVersion::V5_2),
        "6.0" => Ok(DjangoVersion::V6_0),
        "6.1" => Ok(DjangoVersion::V6_1),
        other => Err(format!("Django {other} is newer than this demo: use one of 5.2 to 6.1")),
    }
}

fn check_system_python() -> Result<(), String> {
    let version =
        output(Command::new("python3").args(["-c", "import sys; sys.exit(sys.version_info < (3, 10))"]));
    version.map_err(|why| {
        format!("python3 3.10 or newer is missing: install it, or set PYTHON to one that has Django: {why}")
    })?;
    output(Command::new("python3").args(["-c", "import ensurepip, venv"])).map_err(|why| {
        format!(
            "this python3 cannot make virtual environments: install the package python3-venv (Debian, \
             Ubuntu), or set PYTHON to a Python that has Django: {why}"
        )
    })?;
    Ok(())
}

/// Runs a command that must succeed. The error is its last line, or why it does not start.
pub(crate) fn output(command: &mut Command) -> Result<Output, String> {
    let program = command.get_program().display().to_string();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
    Err(format!("{program}: {last} ({})", output.status))
}
