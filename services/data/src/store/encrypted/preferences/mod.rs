//! People's preferences: one document a person.

pub mod put_preferences;

pub use put_preferences::Preferences;
