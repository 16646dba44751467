//! The output of `identity reconcile`: a line for each person who differs, the counts, and the progress.

use std::{
    fmt,
    io::{self, Write},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use super::comparison::Compared;
use crate::domain::reconciliation::Difference;

/// The shortest time between two lines of progress.
const INTERVAL: Duration = Duration::from_secs(1);

/// The numbers of people by difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) provision: u64,
    pub(super) unlock: u64,
    pub(super) erase_in_data: u64,
    pub(super) erase_account: u64,
    pub(super) keep_receipt: u64,
    pub(super) lock: u64,
    pub(super) locked: u64,
}

impl Counts {
    pub(super) fn add(&mut self, difference: Difference) {
        let count = match difference {
            Difference::Provision => &mut self.provision,
            Difference::Unlock => &mut self.unlock,
            Difference::EraseInData { .. } => &mut self.erase_in_data,
            Difference::EraseAccount { .. } => &mut self.erase_account,
            Difference::KeepReceipt { .. } => &mut self.keep_receipt,
            Difference::LockOrphan => &mut self.lock,
            Difference::LockedOrphan(_) => &mut self.locked,
        };
        *count += 1;
    }

    /// The number of people who are to be mended. A locked orphan is not one: an operator decides about them.
    pub(super) fn differing(&self) -> u64 {
        self.provision + self.unlock + self.erase_in_data + self.erase_account + self.keep_receipt + self.lock
    }
}

/// Returns the name of what mends `difference`, and the difference in words.
pub(super) fn describe(difference: Difference) -> (&'static str, &'static str) {
    match difference {
        Difference::Provision => ("provision", "has an account, and data does not know the person"),
        Difference::Unlock => ("unlock", "has an account, and data has locked the person"),
        Difference::EraseInData { .. } => ("erase-in-data", "was erased, and data has no tombstone"),
        Difference::EraseAccount { .. } => {
            ("erase-account", "has an account, and data has erased the person")
        }
        Difference::KeepReceipt { .. } => ("keep-receipt", "was erased by data, and has no receipt"),
        Difference::LockOrphan => ("lock", "is in data, and has neither an account nor a receipt"),
        Difference::LockedOrphan(_) => ("locked", "is in data without an account, and stays locked"),
    }
}

/// Prints one person.
pub(super) fn print_person(output: &mut impl Write, person: Uuid, difference: Difference) -> io::Result<()> {
    let (name, words) = describe(difference);
    writeln!(output, "{name:<14}{person}  {words}")
}

/// Prints the counts of a comparison.
pub(super) fn print_counts(output: &mut impl Write, compared: &Compared, counts: &Counts) -> io::Result<()> {
    writeln!(
        output,
        "{} people with an account or a receipt, {} people in data",
        Number(compared.here),
        Number(compared.there)
    )?;
    for (name, count) in [
        ("provision", counts.provision),
        ("unlock", counts.unlock),
        ("erase-in-data", counts.erase_in_data),
        ("erase-account", counts.erase_account),
        ("keep-receipt", counts.keep_receipt),
        ("lock", counts.lock),
        ("locked", counts.locked),
        ("waiting", compared.waiting),
        ("too new", compared.too_new),
        ("agree", compared.agreeing),
    ] {
        writeln!(output, "{name:<14}{:>12}", Number(count).to_string())?;
    }
    Ok(())
}

/// Prints the progress of a pass to standard error, at most a line a second.
#[derive(Debug)]
pub(super) struct Progress {
    name: &'static str,
    total: u64,
    printed_at: Instant,
}

impl Progress {
    /// The progress of the pass `name` over `total` people of this service.
    pub(super) fn new(name: &'static str, total: u64) -> Self {
        Self {
            name,
            total,
            printed_at: Instant::now(),
        }
    }

    /// Prints `done` people, if the last line is old enough.
    pub(super) fn print(&mut self, done: u64) -> io::Result<()> {
        if self.printed_at.elapsed() < INTERVAL {
            return Ok(());
        }
        self.printed_at = Instant::now();
        // Some people signed up since the count.
        let total = self.total.max(done);
        let percent = (done * 100).checked_div(total).unwrap_or(100);
        writeln!(
            io::stderr(),
            "{}: {percent}% ({} of {} people)",
            self.name,
            Number(done),
            Number(total)
        )
    }
}

/// A number with a comma before each three digits.
pub(super) struct Number(pub(super) u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (position, digit) in digits.chars().enumerate() {
            if position > 0 && (digits.len() - position).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas() {
        let shown = [0, 999, 1_000, 1_234_567].map(|number| Number(number).to_string());
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_locked_orphan_is_nothing_differing() {
        let mut counts = Counts::default();
        let at = chrono::DateTime::UNIX_EPOCH;
        counts.add(Difference::LockedOrphan(at));
        assert_eq!((counts.differing(), counts.locked), (0, 1));
        for difference in [
            Difference::Provision,
            Difference::Unlock,
            Difference::EraseInData { at },
            Difference::EraseAccount { at },
            Difference::KeepReceipt { at },
            Difference::LockOrphan,
        ] {
            counts.add(difference);
        }
        assert_eq!(counts.differing(), 6);
    }
}
