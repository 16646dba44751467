//! The kind of installation: development or production.

/// The kind of installation. It decides whether a questionable database is only reported or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Environment {
    /// A developer's machine. Questionable settings are logged as warnings.
    Development,
    /// An installation with real people's data. Questionable settings are refused.
    Production,
}
