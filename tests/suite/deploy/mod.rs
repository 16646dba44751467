//! The files in `deploy/` that run Haven, against the programs: what they say is what is run.

mod compose;
mod image;
mod kubernetes;
mod manifest;
