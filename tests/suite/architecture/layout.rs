//! The folders of a gRPC service: `rpc/<service>/` with a file or a folder for each RPC, `store/<service>/` for the
//! SQL, and `tests/suite/<service>/`. The required files and folders are derived from the descriptors.

use std::path::{Path, PathBuf};

use haven_testkit::workspace;
use prost_reflect::{DescriptorPool, ServiceDescriptor};

/// The folder, under `rpc` and `store`, of the gRPC services with content that only the people's devices can decrypt.
const ENCRYPTED: &str = "encrypted";

/// Returns a name in camel case as snake case.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(character.to_lowercase());
    }
    snake
}

/// Returns the paths that `service` lacks, relative to the workspace.
fn missing(service: &ServiceDescriptor) -> Vec<PathBuf> {
    let name = snake(service.name().strip_suffix("Service").unwrap());
    // `haven.data.v1` is served by the crate in `services/data`.
    let server = service.full_name().split('.').nth(1).unwrap();
    let source = Path::new("services").join(server).join("src");
    let root = workspace::root();
    let wing = if root
        .join(&source)
        .join("rpc")
        .join(ENCRYPTED)
        .join(&name)
        .exists()
    {
        ENCRYPTED
    } else {
        ""
    };
    let rpcs = source.join("rpc").join(wing).join(&name);
    let mut required = vec![
        rpcs.join("mod.rs"),
        source.join("store").join(wing).join(&name).join("mod.rs"),
        Path::new("tests/suite").join(&name).join("mod.rs"),
    ];
    for rpc in service.methods() {
        let file = rpcs.join(snake(rpc.name())).with_extension("rs");
        let folder = rpcs.join(snake(rpc.name())).join("mod.rs");
        required.push(if root.join(&folder).exists() { folder } else { file });
    }
    required.retain(|path| !root.join(path).exists());
    required
}

#[test]
fn each_grpc_service_has_its_folders_and_each_rpc_its_file() {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let missing: Vec<_> = pool.services().flat_map(|service| missing(&service)).collect();
    assert!(pool.services().len() > 0);
    assert!(missing.is_empty(), "these do not exist: {missing:#?}");
}
