//! What a verification finds.

/// What is wrong with what is stored. Each entry says what was expected, and what was found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Acknowledged, and not stored.
    pub(crate) lost: Vec<String>,
    /// Applied more than once, or by no call.
    pub(crate) doubled: Vec<String>,
    /// Rows of another person that a person was given.
    pub(crate) foreign: Vec<String>,
    /// Asked for after the time that the database was restored to, and stored nevertheless.
    pub(crate) later: Vec<String>,
    /// People without an account, and accounts without a person.
    pub(crate) orphans: Vec<String>,
}
