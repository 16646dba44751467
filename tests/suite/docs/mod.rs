//! The tables and links of the READMEs, against what they describe.

mod checks;
mod configuration;
mod links;
mod rpcs;
