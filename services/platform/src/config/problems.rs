//! The collector of configuration problems, so that everything missing or wrong is reported at once.

use std::{fmt, ops::RangeInclusive, path::PathBuf, str::FromStr};

use clap::{ValueEnum, builder::PossibleValue};
use http::Uri;
use secrecy::SecretString;

use crate::client;

/// The configuration problems found so far.
#[derive(Debug, Default)]
pub struct ConfigProblems(Vec<String>);

/// The error of an incomplete or wrong configuration: all problems, one per line.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError(Vec<String>);

impl ConfigProblems {
    /// Creates an empty collector.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a problem with the variable `name`. The text must not contain the value of a secret.
    pub fn add(&mut self, name: &str, problem: impl fmt::Display) {
        self.0.push(format!("{name}: {problem}"));
    }

    /// Parses `value`. Adds a problem when it is missing or wrong.
    pub fn parse<T>(&mut self, name: &str, value: &str) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        if value.is_empty() {
            self.add(name, "is missing");
            return None;
        }
        value
            .parse()
            .map_err(|error| self.add(name, format!("is {value:?}, which is not valid: {error}")))
            .ok()
    }

    /// Parses `value` as the name of a variant of an enum. Adds a problem when no variant has this name.
    pub fn one_of<T: ValueEnum>(&mut self, name: &str, value: &str) -> Option<T> {
        let parsed = T::from_str(value, false).ok();
        if parsed.is_none() {
            let names: Vec<_> = T::value_variants()
                .iter()
                .filter_map(ValueEnum::to_possible_value)
                .collect();
            let names: Vec<_> = names.iter().map(PossibleValue::get_name).collect();
            self.add(
                name,
                format_args!("is {value:?}, but must be one of {}", names.join(", ")),
            );
        }
        parsed
    }

    /// Parses `value` as a whole number within `range`. Adds a problem when it is not one.
    pub fn number(&mut self, name: &str, value: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let parsed = value.parse().ok().filter(|number| range.contains(number));
        if parsed.is_none() {
            let (from, to) = (range.start(), range.end());
            self.add(
                name,
                format_args!("is {value:?}, but must be a whole number from {from} to {to}"),
            );
        }
        parsed
    }

    /// Parses `value` as the URL of another service, `https://host:port`. Adds a problem when it is not one.
    pub fn service_url(&mut self, name: &str, value: &str) -> Option<Uri> {
        let url: Uri = self.parse(name, value)?;
        self.take(name, client::check(&url).map(|_| url.clone()))
    }

    /// Returns the value of `result`. Adds its error as a problem when there is none.
    pub fn take<T, E: fmt::Display>(&mut self, name: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(name, error)).ok()
    }

    /// Returns a secret from the variable itself or from the file that `<name>_FILE` names, without the line break that
    /// editors put at the end of a file. Adds a problem when both or neither are set, or the file cannot be read.
    pub fn secret(
        &mut self,
        name: &str,
        value: Option<&SecretString>,
        file: Option<&PathBuf>,
    ) -> Option<SecretString> {
        match (value, file) {
            (Some(_), Some(_)) => {
                self.add(
                    name,
                    format_args!("is set, and so is {name}_FILE: set only one of them"),
                );
                None
            }
            (Some(value), None) => Some(value.clone()),
            (None, Some(path)) => match std::fs::read_to_string(path) {
                Ok(text) if !text.trim_end().is_empty() => Some(text.trim_end().into()),
                Ok(_) => {
                    self.add(
                        &format!("{name}_FILE"),
                        format_args!("{} is empty", path.display()),
                    );
                    None
                }
                Err(error) => {
                    self.add(
                        &format!("{name}_FILE"),
                        format_args!("cannot read {}: {error}", path.display()),
                    );
                    None
                }
            },
            (None, None) => {
                self.add(
                    name,
                    format_args!("is missing; set it, or set {name}_FILE to a file that contains it"),
                );
                None
            }
        }
    }

    /// Returns `config` when it is complete and there is no problem.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with all problems.
    pub fn finish<T>(mut self, config: Option<T>) -> Result<T, ConfigError> {
        match config {
            Some(config) if self.0.is_empty() => Ok(config),
            _ => {
                if self.0.is_empty() {
                    self.0.push("is incomplete".to_owned());
                }
                Err(ConfigError(self.0))
            }
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is incomplete or wrong:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}
