//! Django's codec on the same sessions, in a Python of its own.

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::Payload;
use crate::{Result, content, django};

/// Microseconds by what was done.
pub fn measure(target: &Path, payloads: &[Payload]) -> Result<BTreeMap<String, f64>> {
    let mut python = Command::new(django::environment(target)?.join("python"));
    python.arg(django::files().join("time_codec.py")).env("BENCH_SECRET", content::SECRET);
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let sessions = payloads.iter().map(|payload| {
        json!({
            "name": payload.name,
            "session": payload.session,
            "zlib": payload.compressed,
            "plain": payload.plain,
        })
    });
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(sessions.collect::<Value>().to_string().as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err("Python failed".into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
