//! The binary `identity`.

use std::process::ExitCode;

fn main() -> ExitCode {
    haven_platform::run::main::<haven_identity::Identity>()
}
