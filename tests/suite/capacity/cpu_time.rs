//! The CPU time of processes, from `/proc`.

use std::fs;

/// Milliseconds of one tick: `USER_HZ` is 100 on every architecture that Linux runs Haven on.
const TICK: u64 = 10;

/// The fields of a process in `/proc/<pid>/stat` that count here.
struct Stat {
    parent: u32,
    /// Ticks in user mode and in the kernel.
    own: u64,
    /// Ticks of the children that have ended.
    ended_children: u64,
}

/// Reads the fields. `None` when the process has ended.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in parentheses, may contain anything.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    // The first field after the name is the third of proc(5).
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(4)?).ok()?,
        own: number(14)? + number(15)?,
        ended_children: number(16)? + number(17)?,
    })
}

/// Returns the CPU time of a process so far, in milliseconds.
pub(super) fn of_process(pid: u32) -> u64 {
    stat(pid).map_or(0, |stat| stat.own * TICK)
}

/// Returns the CPU time of a process and of its children so far, in milliseconds, with children that have ended.
pub(super) fn of_tree(pid: u32) -> u64 {
    let ended = stat(pid).map_or(0, |stat| stat.own + stat.ended_children);
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        stat(pid)
    });
    let children: u64 = processes
        .filter(|process| process.parent == pid)
        .map(|child| child.own)
        .sum();
    (ended + children) * TICK
}
