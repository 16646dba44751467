//! Groups of symbols: the parts of a service that its CPU time goes to.

use std::collections::BTreeMap;

/// A sample of a profile: a share of the CPU time.
pub(crate) struct Sample {
    pub(crate) percent: f64,
    /// The file of the code: a program, a library or `[kernel.kallsyms]`.
    pub(crate) object: String,
    pub(crate) symbol: String,
}

/// The groups of functions by the crate that they are in, or by the start of their name in C and assembly.
const GROUPS: [(&str, &[&str]); 9] = [
    (
        TOKENS,
        &[
            "p256",
            "ecdsa",
            "elliptic_curve",
            "primeorder",
            "crypto_bigint",
            "primefield",
            "jsonwebtoken",
            "signature",
        ],
    ),
    (
        "hashes of passwords",
        &[
            "argon2",
            "argon2_rust",
            "blake2",
            "zxcvbn",
            "fancy_regex",
            "regex_automata",
        ],
    ),
    (
        "gRPC and HTTP (h2, hyper, tonic, axum, tower, prost)",
        &[
            "h2",
            "hyper",
            "hyper_util",
            "tonic",
            "tonic_health",
            "tonic_prost",
            "axum",
            "axum_core",
            "tower",
            "tower_service",
            "tower_layer",
            "http",
            "http_body",
            "http_body_util",
            "httparse",
            "prost",
            "prost_types",
            "bytes",
            "matchit",
            "fnv",
            "atomic_waker",
            "slab",
            "indexmap",
        ],
    ),
    (
        "logs, traces and metrics",
        &[
            "tracing",
            "tracing_core",
            "tracing_subscriber",
            "tracing_opentelemetry",
            "tracing_serde",
            "tracing_log",
            "metrics",
            "metrics_exporter_prometheus",
            "metrics_util",
            "opentelemetry",
            "opentelemetry_sdk",
            "sharded_slab",
            "thread_local",
            "matchers",
            "nu_ansi_term",
            "time",
            "chrono",
            "quanta",
        ],
    ),
    (
        "sqlx",
        &[
            "sqlx",
            "sqlx_core",
            "sqlx_postgres",
            "hashlink",
            "crossbeam_queue",
            "event_listener",
        ],
    ),
    (
        TLS,
        &[
            "rustls",
            "tokio_rustls",
            "ring",
            "ring_core",
            "aws_lc",
            "aws_lc_rs",
            "aws_lc_sys",
            "webpki",
            "rustls_webpki",
        ],
    ),
    (
        "tokio",
        &[
            "tokio",
            "tokio_util",
            "tokio_stream",
            "mio",
            "parking_lot",
            "parking_lot_core",
            "futures_util",
            "futures_core",
            "futures_channel",
            "socket2",
        ],
    ),
    (
        DIGESTS,
        &[
            "aes", "cbc", "fernet", "hmac", "sha2", "sha1", "digest", "cipher", "base64", "ghash", "polyval",
            "chacha20",
        ],
    ),
    (
        "Haven",
        &[
            "haven_data",
            "haven_identity",
            "haven_platform",
            "haven_proto",
            "data",
            "identity",
        ],
    ),
];

/// The functions of the library for TLS that belong to other groups, or have no crate in their name, by a part of the name.
const PARTS: [(&str, &[&str]); 3] = [
    (
        TOKENS,
        &[
            "nistz256",
            "p256_",
            "LIMB",
            "bn_mul",
            "bn_sqr",
            "ring::ec",
            "ring::arithmetic",
            "ring::limb",
            "ring::io",
        ],
    ),
    (DIGESTS, &["sha256_", "sha512_", "ring::digest", "ring::hmac"]),
    (
        TLS,
        &["ring_core", "gcm", "aes_hw", "chacha20", "ChaCha20", "x25519"],
    ),
];

/// The names of groups.
const TOKENS: &str = "token verification (ECDSA, JSON Web Tokens)";
const DIGESTS: &str = "encryption and hashes of messages";
const TLS: &str = "TLS";
const KERNEL: &str = "kernel";
const ALLOCATION: &str = "malloc and free";
const LIBRARY: &str = "Rust's library, copies of memory";
const OTHER: &str = "other";

/// The parts of the names of functions that allocate or free memory.
const ALLOCATORS: [&str; 7] = [
    "malloc",
    "calloc",
    "realloc",
    "free",
    "_int_",
    "unlink_chunk",
    "alloc::",
];

/// Returns the shares of the groups in percent, in descending order.
pub(crate) fn shares(samples: &[Sample]) -> Vec<(&'static str, f64)> {
    let mut shares: BTreeMap<&'static str, f64> = BTreeMap::new();
    for sample in samples {
        *shares.entry(group(sample)).or_default() += sample.percent;
    }
    let mut shares: Vec<_> = shares.into_iter().collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    shares
}

/// Returns the group of a sample.
fn group(sample: &Sample) -> &'static str {
    if sample.object.contains("kernel") || sample.object.contains("vdso") {
        return KERNEL;
    }
    if sample.object.contains("libc.so") || sample.object.contains("libc-") {
        let allocates = ALLOCATORS.iter().any(|name| sample.symbol.contains(name));
        return if allocates { ALLOCATION } else { LIBRARY };
    }
    let part = PARTS
        .iter()
        .find(|(_, parts)| parts.iter().any(|part| sample.symbol.contains(part)));
    if let Some((group, _)) = part {
        return group;
    }
    let name = crate_of(&sample.symbol);
    let found = GROUPS.iter().find(|(_, crates)| crates.contains(&name.as_str()));
    match (found, name.as_str()) {
        (Some((group, _)), _) => group,
        (None, "core" | "alloc" | "std" | "hashbrown" | "memchr" | "compiler_builtins") => LIBRARY,
        (None, _) => OTHER,
    }
}

/// Returns the crate of a function, which is the first word of its path: `h2` for `<h2::proto::Streams as Drop>::drop`.
fn crate_of(symbol: &str) -> String {
    let path = symbol.trim_start_matches(|character: char| !character.is_alphanumeric() && character != '_');
    let path = path
        .strip_prefix("mut ")
        .or(path.strip_prefix("dyn "))
        .unwrap_or(path);
    let words = path.split(|character: char| !character.is_alphanumeric() && character != '_');
    words.take(1).collect()
}
