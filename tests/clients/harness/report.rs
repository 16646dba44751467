//! The table of what works with which client, in `tests/clients/README.md`.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use anyhow::{Context, Result, ensure};

/// The cases, in the order of the table.
pub(crate) const CASES: [&str; 14] = [
    "unary",
    "server stream",
    "client stream",
    "bidi stream",
    "certificate",
    "details",
    "retry info",
    "deadline",
    "cancel",
    "resume",
    "gzip",
    "large answer",
    "too large",
    "restarts",
];

const BEGIN: &str = "<!-- written by tests/clients/run -->\n";
const END: &str = "<!-- end -->\n";

/// The outcomes of one client: `yes`, or `no: ` and why, by case.
#[derive(Default)]
pub(crate) struct Row {
    /// The versions of the library and its language.
    pub(crate) version: String,
    /// The outcomes by case.
    pub(crate) outcomes: BTreeMap<String, String>,
}

/// The outcomes of all clients, in the order of the list.
#[derive(Default)]
pub(crate) struct Report {
    /// The outcomes by the client's name.
    pub(crate) rows: Vec<(String, Row)>,
}

impl Row {
    /// Prints the outcomes of the client `name`.
    pub(crate) fn print(&self, name: &str) {
        println!("{name}\t{}", self.version);
        for case in CASES {
            let outcome = self.outcomes.get(case).map_or("not tried", String::as_str);
            println!("{name}\t{case}\t{outcome}");
        }
    }
}

impl Report {
    /// Returns the table, and a list of what does not work.
    fn page(&self) -> Result<String> {
        let mut page = format!(
            "| client | {} |\n|{}\n",
            CASES.join(" | "),
            " --- |".repeat(CASES.len() + 1)
        );
        let mut notes = String::new();
        for (name, row) in &self.rows {
            write!(page, "| {name}: {} |", row.version)?;
            for case in CASES {
                match row.outcomes.get(case).map(|outcome| outcome.split_once(": ")) {
                    None => page.push_str(" |"),
                    Some(None) => page.push_str(" yes |"),
                    Some(Some((_, reason))) => {
                        page.push_str(" no |");
                        writeln!(notes, "- {name}, {case}: {reason}")?;
                    }
                }
            }
            page.push('\n');
            if let Some(unknown) = row.outcomes.keys().find(|case| !CASES.contains(&case.as_str())) {
                anyhow::bail!("{name} has a case that the table lacks: {unknown}");
            }
        }
        Ok(format!("{page}\n{notes}"))
    }

    /// Writes the table into `page`, between its two marks.
    pub(crate) fn write(&self, page: &Path) -> Result<()> {
        let text = fs::read_to_string(page)?;
        let (head, _, tail) = parts(&text)?;
        fs::write(
            page,
            format!("{head}{BEGIN}\n{}\n{END}{tail}", self.page()?.trim_end()),
        )?;
        Ok(())
    }

    /// Fails when the table in `page` differs.
    pub(crate) fn check(&self, page: &Path) -> Result<()> {
        let text = fs::read_to_string(page)?;
        let (_, table, _) = parts(&text)?;
        let now = self.page()?;
        ensure!(
            table.trim() == now.trim(),
            "{} differs from what was found; tests/clients/run --write writes it:\n{now}",
            page.display()
        );
        Ok(())
    }
}

/// Returns what is before, between and after the two marks.
fn parts(text: &str) -> Result<(&str, &str, &str)> {
    let (head, rest) = text.split_once(BEGIN).context("the page has no begin mark")?;
    let (table, tail) = rest.split_once(END).context("the page has no end mark")?;
    Ok((head, table, tail))
}
