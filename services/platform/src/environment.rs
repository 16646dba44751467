//! The environment that an installation is for: development or production.

/// What the installation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Environment {
    /// Somebody's own machine: what is doubtful is reported.
    Development,
    /// People's data: what is doubtful is refused.
    Production,
}
