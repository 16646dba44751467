//! Compiles the protos of this crate. It does not need `protoc`.

use std::{
    env,
    error::Error,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use prost_reflect::DescriptorPool;

#[expect(
    clippy::disallowed_methods,
    reason = "cargo passes the output directory to a build script in a variable"
)]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=haven");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(protos(Path::new("haven"))?)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Encoded by protox, because the types of prost would drop the options of Haven.
    fs::write(out.join("haven.binpb"), compiler.encode_file_descriptor_set())?;
    let pool = compiler.descriptor_pool();
    fs::write(out.join("debug.rs"), debug_impls(&pool)?)?;
    tonic_prost_build::configure()
        .skip_debug(
            pool.all_messages()
                .map(|message| format!(".{}", message.full_name())),
        )
        .compile_fds(compiler.file_descriptor_set())?;
    compile_standard(&out)
}

/// Compiles the protocols of gRPC itself, apart from the API of Haven.
fn compile_standard(out: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=grpc");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler
        .include_source_info(true)
        .open_files(protos(Path::new("grpc"))?)?;
    fs::write(out.join("standard.binpb"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// Returns the paths of all protos below `folder`, sorted.
fn protos(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            paths.extend(protos(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The option that marks the fields with private values.
const REDACT: &str = "haven.access.v1.redact";

/// Generates an implementation of `Debug` for every message, which prints `[redacted]` for the fields that the protos mark
/// [`REDACT`]. A request that is logged by accident shows no password and no message text.
fn debug_impls(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let mut code = String::new();
    let redact = pool
        .get_extension_by_name(REDACT)
        .ok_or_else(|| format!("the protos have no option {REDACT}"))?;
    for message in pool.all_messages() {
        let Some(package) = message.package_name().strip_prefix("haven.") else {
            continue;
        };
        let (module, name) = (package.replace('.', "::"), message.name());
        if message.parent_message().is_some() || message.oneofs().len() > 0 {
            return Err(format!("{name}: debug_impls does not support nested messages and oneofs").into());
        }
        writeln!(code, "impl ::core::fmt::Debug for crate::{module}::{name} {{")?;
        writeln!(
            code,
            "fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{"
        )?;
        write!(code, "f.debug_struct(\"{name}\")")?;
        for field in message.fields() {
            let field_name = field.name();
            let options = field.options();
            let standard = options.get_field_by_name("debug_redact");
            if standard.is_some_and(|value| value.as_bool() == Some(true)) {
                return Err(format!(
                    "{name}.{field_name}: use ({REDACT}); old versions of protoc reject debug_redact"
                )
                .into());
            }
            match options.get_extension(&redact).as_bool() == Some(true) {
                true => write!(code, ".field(\"{field_name}\", &\"[redacted]\")")?,
                false => write!(code, ".field(\"{field_name}\", &self.{field_name})")?,
            }
        }
        writeln!(code, ".finish() }} }}")?;
    }
    Ok(code)
}
