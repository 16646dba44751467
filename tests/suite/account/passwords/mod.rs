//! Passwords: their policy, and changing one.

mod change;
mod policy;
