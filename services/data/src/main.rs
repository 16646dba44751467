//! The binary `data`.

use std::process::ExitCode;

fn main() -> ExitCode {
    haven_platform::run::main::<haven_data::Data>()
}
