//! Who keeps passwords and sessions.

/// Who signs people up and in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AuthProvider {
    /// This service.
    Haven,
    /// Somebody else, whose tokens are accepted: `TRUSTED_ISSUERS` says who.
    External,
}
