//! The provider that keeps passwords and sessions.

/// Whether SignIn requires a verified address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum VerifiedEmail {
    /// Not required.
    Off,
    /// Required.
    On,
}

/// The provider that signs people up and in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AuthProvider {
    /// This service keeps passwords and sessions.
    Haven,
    /// Another provider, configured by `TRUSTED_ISSUERS`. Its access tokens are accepted.
    External,
}
