//! The files in `deploy/` that run Haven, against the programs: what they say is what is run.

mod kubernetes;
mod manifest;
