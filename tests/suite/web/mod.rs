//! Calls from browsers.

mod browser;
