//! The `data` binary: runs the data service.

use std::process::ExitCode;

fn main() -> ExitCode {
    haven_platform::run::main::<haven_data::Data>()
}
