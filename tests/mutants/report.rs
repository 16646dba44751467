//! The result of a run: a table by kind, the survivors, and the reasons that are written for them.

use std::{collections::BTreeMap, fmt::Write, fs};

use anyhow::Result;
use haven_testkit::workspace;
use serde::Deserialize;

use super::{
    judge::{Check, Verdict},
    mutant::Mutant,
};

/// What happened to the mutants of one kind.
#[derive(Clone, Default)]
struct Count {
    mutants: usize,
    inapplicable: usize,
    killed: BTreeMap<Check, usize>,
    survived: usize,
}

/// The result of a run.
#[derive(Default)]
pub(super) struct Report {
    kinds: BTreeMap<String, Count>,
    /// A line for each mutant, for `target/mutants.tsv`.
    lines: String,
    survivors: Vec<String>,
    seconds: f64,
}

/// The survivors that are accepted, each with its reason.
#[derive(Deserialize)]
struct Accepted {
    survivor: Vec<Survivor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Survivor {
    /// The name of the mutant, or the beginning of the names of several.
    name: String,
    reason: String,
}

impl Report {
    /// Adds one verdict.
    pub(super) fn add(&mut self, mutant: &Mutant, verdict: &Verdict, seconds: f64) {
        let count = self.kinds.entry(mutant.kind.clone()).or_default();
        count.mutants += 1;
        self.seconds += seconds;
        let (what, why) = match verdict {
            Verdict::Killed(check, why) => {
                *count.killed.entry(*check).or_default() += 1;
                (format!("killed by {check}"), why.as_str())
            }
            Verdict::Survived => {
                count.survived += 1;
                self.survivors.push(mutant.name());
                ("survived".to_owned(), "")
            }
            Verdict::Inapplicable(why) => {
                count.inapplicable += 1;
                ("inapplicable".to_owned(), why.as_str())
            }
        };
        let why: String = why.replace(['\n', '\t'], " ").chars().take(300).collect();
        let _ = writeln!(
            self.lines,
            "{}\t{}\t{what}\t{seconds:.3}\t{why}",
            mutant.kind, mutant.subject
        );
    }

    /// Adds the verdicts of another report.
    pub(super) fn merge(&mut self, other: Self) {
        for (kind, of) in other.kinds {
            let count = self.kinds.entry(kind).or_default();
            count.mutants += of.mutants;
            count.inapplicable += of.inapplicable;
            count.survived += of.survived;
            for (check, killed) in of.killed {
                *count.killed.entry(check).or_default() += killed;
            }
        }
        self.lines.push_str(&other.lines);
        self.survivors.extend(other.survivors);
        self.seconds += other.seconds;
    }

    /// Returns the number of mutants that could be applied.
    pub(super) fn judged(&self) -> usize {
        self.kinds
            .values()
            .map(|count| count.mutants - count.inapplicable)
            .sum()
    }

    /// Returns the survivors without a written reason.
    pub(super) fn unexplained(&self) -> Result<Vec<String>> {
        let file = workspace::root().join("tests/mutants/survivors.toml");
        let accepted: Accepted = toml::from_str(&fs::read_to_string(file)?)?;
        let explained = |name: &str| {
            let reasons = accepted.survivor.iter();
            reasons
                .filter(|survivor| !survivor.reason.is_empty())
                .any(|survivor| name.starts_with(&survivor.name))
        };
        let survivors = self.survivors.iter();
        Ok(survivors.filter(|name| !explained(name)).cloned().collect())
    }

    /// Returns the table by kind, in Markdown.
    pub(super) fn table(&self) -> String {
        let mut table = String::from("| change | mutants | not applicable |");
        for check in Check::ALL {
            let _ = write!(table, " {check} |");
        }
        table.push_str(" survived |\n|");
        table.push_str(&" --- |".repeat(4 + Check::ALL.len()));
        table.push('\n');
        let mut all = Count::default();
        for (kind, count) in &self.kinds {
            row(&mut table, kind, count);
            all.mutants += count.mutants;
            all.inapplicable += count.inapplicable;
            all.survived += count.survived;
            for (check, killed) in &count.killed {
                *all.killed.entry(*check).or_default() += killed;
            }
        }
        row(&mut table, "all", &all);
        let _ = write!(
            table,
            "\n{:.2} s for each mutant",
            self.seconds / all.mutants.max(1) as f64
        );
        table
    }

    /// Writes a line for each mutant to `target/mutants.tsv`.
    pub(super) fn write(&self) -> Result<()> {
        let file = workspace::root().join("target/mutants.tsv");
        Ok(fs::write(file, &self.lines)?)
    }
}

fn row(table: &mut String, kind: &str, count: &Count) {
    let _ = write!(table, "| {kind} | {} | {} |", count.mutants, count.inapplicable);
    for check in Check::ALL {
        let killed = count.killed.get(&check).copied().unwrap_or_default();
        let _ = match killed {
            0 => write!(table, " |"),
            killed => write!(table, " {killed} |"),
        };
    }
    let _ = writeln!(table, " {} |", count.survived);
}
