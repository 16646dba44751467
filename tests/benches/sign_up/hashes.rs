//! Bare argon2id hashes on all cores, with the parameters of the service.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, available_parallelism},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use argon2::{Algorithm, Argon2, Block, ParamsBuilder, Version};

use super::measure::{cpu::Meter, turn::Turn};

/// The parameters of the service's password hashes.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const SECRET: &[u8] = &[7; 32];
const PASSWORD: &[u8] = b"Correct-Horse-7-Battery";

/// A function that hashes until the given time, and counts the hashes.
type Kernel = fn(&AtomicU64, Instant);

/// The implementations of argon2id: that of the service, and another one.
const KERNELS: [Kernel; 2] = [argon2_rust, argon2];

/// Returns the kernel that makes the most hashes within `turn`, with its name.
pub(crate) async fn fastest(meter: &Meter, turn: Duration) -> Result<(&'static str, Kernel)> {
    let (ours, other) = (
        hashes(meter, turn, KERNELS[0]).await?.rate(),
        hashes(meter, turn, KERNELS[1]).await?.rate(),
    );
    println!("bare hashes: argon2-rust {ours:.1}/s, argon2 {other:.1}/s\n");
    Ok(if ours >= other {
        ("bare hashes of argon2-rust", KERNELS[0])
    } else {
        ("bare hashes of argon2", KERNELS[1])
    })
}

/// Hashes on all cores for the duration `turn`. Each thread reuses its own memory.
pub(crate) async fn hashes(meter: &Meter, turn: Duration, kernel: Kernel) -> Result<Turn> {
    let (count, before, begin) = (Arc::new(AtomicU64::new(0)), meter.read()?, Instant::now());
    let threads: Vec<_> = (0..available_parallelism()?.get())
        .map(|_| {
            let count = Arc::clone(&count);
            thread::spawn(move || kernel(&count, begin + turn))
        })
        .collect();
    for thread in threads {
        thread.join().ok().context("a kernel panicked")?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    Ok(Turn {
        work: count.load(Relaxed),
        seconds,
        cpu: meter.read()? - before,
        durations: Vec::new(),
    })
}

/// Hashes with the crate `argon2-rust`, which the service uses, until `end`.
fn argon2_rust(count: &AtomicU64, end: Instant) {
    use argon2_rust::params::{Memory, TagLen};
    let params = argon2_rust::Params::builder()
        .memory(Memory::kib(MEMORY_KIB.into()))
        .passes(PASSES)
        .lanes(1)
        .threads(1)
        .tag_len(TagLen::bytes(32))
        .build()
        .expect("the parameters of the service");
    let config = argon2_rust::Argon2::new(
        argon2_rust::Algorithm::Argon2id,
        argon2_rust::Version::V0x13,
        params,
    );
    let mut hasher = config.hasher();
    let mut output = [0; 32];
    while Instant::now() < end {
        let salt: [u8; 16] = rand::random();
        hasher
            .hash_into_with_ad(PASSWORD, &salt, SECRET, &[], &mut output)
            .expect("a hash");
        count.fetch_add(1, Relaxed);
    }
}

/// Hashes with the crate `argon2` until `end`.
fn argon2(count: &AtomicU64, end: Instant) {
    let params = ParamsBuilder::new()
        .m_cost(MEMORY_KIB)
        .t_cost(PASSES)
        .p_cost(1)
        .build();
    let argon2 = Argon2::new_with_secret(
        SECRET,
        Algorithm::Argon2id,
        Version::V0x13,
        params.expect("the parameters of the service"),
    )
    .expect("a secret of 32 bytes");
    let mut blocks = vec![Block::new(); MEMORY_KIB as usize];
    let mut output = [0; 32];
    while Instant::now() < end {
        let salt: [u8; 16] = rand::random();
        argon2
            .hash_password_into_with_memory(PASSWORD, &salt, &mut output, &mut blocks)
            .expect("a hash");
        count.fetch_add(1, Relaxed);
    }
}
