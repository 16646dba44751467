//! Compiles the protos that only tests use.

use std::{env, error::Error, fs, path::PathBuf};

#[expect(
    clippy::disallowed_methods,
    reason = "cargo passes the output directory to a build script in a variable"
)]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto", "../proto"])?;
    compiler
        .include_imports(true)
        .open_file("proto/haven/testing/v1/probe.proto")?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("testing.binpb"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .extern_path(".haven.access.v1", "::haven_proto::access::v1")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
