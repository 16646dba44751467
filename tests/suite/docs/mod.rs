//! The tables and links of the READMEs, against what they describe.

mod configuration;
mod links;
mod rpcs;
