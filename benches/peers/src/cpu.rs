//! Processor time of processes, from Linux's /proc.

use std::{collections::HashMap, fs};

/// Time on a processor, in microseconds, of a process and all its children.
pub fn micros(root: u32) -> u64 {
    tree(root).iter().map(|&pid| micros_of(pid)).sum()
}

/// Resident memory in KiB, of a process and all its children; what they share is counted once.
pub fn resident_kib(root: u32) -> u64 {
    tree(root).iter().map(|&pid| proportional(pid).unwrap_or_default()).sum()
}

fn micros_of(pid: u32) -> u64 {
    // Nanoseconds that each thread ran.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let threads = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    let own = threads.sum::<u64>() / 1000;
    // Ended children, in ticks of 10 ms.
    let ended = stat(pid).map_or(0, |fields| number(&fields, 13) + number(&fields, 14));
    own + ended * 10_000
}

fn proportional(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(fields) = stat(pid) {
            let parent = u32::try_from(number(&fields, 1)).unwrap_or_default();
            children.entry(parent).or_default().push(pid);
        }
    }
    let (mut found, mut next) = (vec![root], 0);
    while let Some(&pid) = found.get(next) {
        found.extend(children.get(&pid).into_iter().flatten());
        next += 1;
    }
    found
}

/// The fields of `/proc/PID/stat` after the name: the state first, then the parent.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit(')').next()?.split_whitespace().map(str::to_owned).collect())
}

fn number(fields: &[String], index: usize) -> u64 {
    fields.get(index).and_then(|field| field.parse().ok()).unwrap_or_default()
}
