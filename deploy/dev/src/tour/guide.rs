//! Runs the commands of the tour, and shows them as a developer would type them.

use std::{env, io::Write, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Deserializer, Value};

/// Runs `cargo dev call` and prints what happens.
pub(super) struct Guide {
    program: PathBuf,
    steps: u32,
}

/// What a command printed.
pub(super) struct Outcome {
    /// The line that was run.
    line: String,
    code: i32,
    /// The JSON values on standard output.
    pub(super) answers: Vec<Value>,
    /// Standard error.
    pub(super) failure: String,
}

impl Guide {
    /// Prepares to run this program.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            program: env::current_exe()?,
            steps: 0,
        })
    }

    /// Prints the title of the next part of the tour.
    pub(super) fn title(&mut self, title: &str) {
        self.steps += 1;
        println!("\n{}. {title}\n", self.steps);
    }

    /// Prints a sentence about what happened.
    pub(super) fn say(&self, sentence: &str) {
        println!("  => {sentence}\n");
    }

    /// Runs a call that succeeds.
    pub(super) fn call(&self, arguments: &[&str]) -> Result<Outcome> {
        let outcome = self.run(arguments)?;
        ensure!(
            outcome.code == 0,
            "exit code {} of: {}",
            outcome.code,
            outcome.line
        );
        Ok(outcome)
    }

    /// Runs a call that fails with the exit code `code` and the reason `reason`.
    pub(super) fn refused(&self, arguments: &[&str], code: i32, reason: &str) -> Result<Outcome> {
        let outcome = self.run(arguments)?;
        ensure!(
            outcome.code == code && outcome.failure.contains(reason),
            "exit code {} in place of {code} and {reason} of: {}",
            outcome.code,
            outcome.line
        );
        println!("  (exit code {code})");
        Ok(outcome)
    }

    fn run(&self, arguments: &[&str]) -> Result<Outcome> {
        let words: Vec<_> = arguments.iter().map(|argument| quoted(argument)).collect();
        let line = format!("cargo dev call {}", words.join(" "));
        println!("  $ {line}");
        std::io::stdout().flush()?;
        let output = Command::new(&self.program)
            .arg("call")
            .args(arguments)
            // The caller of each step is the one that its line names.
            .env_remove("HAVEN_PASSWORD")
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let failure = String::from_utf8(output.stderr)?;
        for shown in text.lines().chain(failure.lines()) {
            println!("  {shown}");
        }
        let answers = Deserializer::from_str(&text)
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .with_context(|| format!("the output is not JSON: {line}"))?;
        let Some(code) = output.status.code() else {
            bail!("{} of: {line}", output.status);
        };
        Ok(Outcome {
            line,
            code,
            answers,
            failure,
        })
    }
}

impl Outcome {
    /// Returns the value at `pointer`, such as `/message/id`, of the first answer that has it.
    pub(super) fn find(&self, pointer: &str) -> Result<&Value> {
        let found = self.answers.iter().find_map(|answer| answer.pointer(pointer));
        found.with_context(|| format!("the answer has no {pointer}: {}", self.line))
    }

    /// Returns the text at `pointer`.
    pub(super) fn text(&self, pointer: &str) -> Result<&str> {
        let value = self.find(pointer)?;
        value
            .as_str()
            .with_context(|| format!("{pointer} is not a text: {}", self.line))
    }

    /// Fails unless the value at `pointer` is `expected`.
    pub(super) fn expect(&self, pointer: &str, expected: impl Into<Value>) -> Result<()> {
        let (value, expected) = (self.find(pointer)?, expected.into());
        ensure!(
            *value == expected,
            "{pointer} is {value} and not {expected}: {}",
            self.line
        );
        Ok(())
    }
}

/// Returns an argument as a shell reads it.
fn quoted(argument: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_./@:=".contains(character);
    match !argument.is_empty() && argument.chars().all(is_plain) {
        true => argument.to_owned(),
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn arguments_are_quoted_for_a_shell_where_it_is_needed() {
        assert_eq!(quoted("ada@example.org"), "ada@example.org");
        assert_eq!(quoted(r#"{"a": 1}"#), r#"'{"a": 1}'"#);
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
