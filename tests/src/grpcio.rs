//! grpcio, the gRPC library of Python, from PyPI: a client with retries of its own, which read the service config.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::python;

/// The pinned packages, as a requirements file of pip, with the files for Python 3.11 to 3.14.
const REQUIREMENTS: &str = include_str!("grpcio-requirements.txt");

/// The name of the package on PyPI.
pub const PACKAGE: &str = "grpcio";

/// Downloads grpcio for this machine's Python, unless an earlier run did, and returns the directory that `PYTHONPATH` must
/// have.
///
/// # Errors
///
/// If pip cannot download it, for example because this machine's Python is older or newer. The error names the package.
pub fn unpack() -> Result<PathBuf> {
    let release = REQUIREMENTS.split_whitespace().next().unwrap_or(PACKAGE);
    let unpacked = python::unpack(&release.replace("==", "-"), REQUIREMENTS);
    unpacked.with_context(|| format!("the package {release} of PyPI is needed"))
}
