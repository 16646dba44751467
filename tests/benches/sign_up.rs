//! Benchmark of SignUp: compares the service with bare argon2id hashes on the same cores, in alternating turns.
//!
//! ```sh
//! cargo bench -p haven-testkit --bench sign_up
//! ```
//!
//! Both services are release builds, on a separate durable Postgres. The clients are in this process. So the clients,
//! TLS on both sides, both services and Postgres share the cores with the hashing, and the ratio shows the cost of all
//! of that.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, available_parallelism},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use argon2::{Algorithm, Argon2, Block, ParamsBuilder, Version};
use haven_testkit::{Stack, client::sign_up_request, random};

/// The parameters of the service's password hashes.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const SECRET: &[u8] = &[7; 32];

/// The number of turns of each side.
const ROUNDS: usize = 5;
/// The duration of a turn.
const TURN: Duration = Duration::from_secs(8);
/// The number of concurrent sign-ups, and of the connections that they share.
const CLIENTS: usize = 16;
const CONNECTIONS: usize = 4;

#[tokio::main]
async fn main() -> Result<()> {
    let cores = available_parallelism()?.get();
    println!("{cores} cores, {ROUNDS} rounds of {} s each", TURN.as_secs());
    let stack = Stack::builder().durable_cluster().start().await?;
    // Opens connections, prepares statements and allocates the hash memory before the measurement.
    sign_ups(&stack, Duration::from_secs(2)).await?;
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        let fast = hashes(cores, argon2_rust)?;
        let slow = hashes(cores, argon2)?;
        let service = sign_ups(&stack, TURN).await?;
        let fastest = fast.max(slow);
        ratios.push(service / fastest);
        println!(
            "round {round}: bare argon2-rust {fast:.1}/s, bare argon2 {slow:.1}/s, SignUp {service:.1}/s, \
             ratio of SignUp to the faster kernel {:.3}",
            service / fastest
        );
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "ratio: {:.3} (median; {:.3} to {:.3})",
        ratios[ROUNDS / 2],
        ratios[0],
        ratios[ROUNDS - 1]
    );
    Ok(())
}

/// Returns the hashes per second on all cores. Each thread reuses its own memory.
fn hashes(cores: usize, kernel: fn(&AtomicU64, Instant)) -> Result<f64> {
    let (count, begin) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let threads: Vec<_> = (0..cores)
        .map(|_| {
            let count = Arc::clone(&count);
            thread::spawn(move || kernel(&count, begin + TURN))
        })
        .collect();
    for thread in threads {
        thread.join().ok().context("a kernel panicked")?;
    }
    Ok(count.load(Relaxed) as f64 / begin.elapsed().as_secs_f64())
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
            .hash_into_with_ad(b"Correct-Horse-7-Battery", &salt, SECRET, &[], &mut output)
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
            .hash_password_into_with_memory(b"Correct-Horse-7-Battery", &salt, &mut output, &mut blocks)
            .expect("a hash");
        count.fetch_add(1, Relaxed);
    }
}

/// Returns the sign-ups per second, each with a new email address.
async fn sign_ups(stack: &Stack, turn: Duration) -> Result<f64> {
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|_| stack.anonymous())
        .collect::<Result<_>>()?;
    let begin = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let mut account = connections[number % CONNECTIONS].account();
            tokio::spawn(async move {
                let mut done = 0_u64;
                while begin.elapsed() < turn {
                    let email = format!("{}@example.org", random::uuid());
                    let request = sign_up_request(&email, "Correct-Horse-7-Battery");
                    account.sign_up(request).await?;
                    done += 1;
                }
                Ok::<_, tonic::Status>(done)
            })
        })
        .collect();
    let mut done = 0;
    for client in clients {
        done += client.await?.context("SignUp")?;
    }
    ensure!(done > 0, "no sign-up succeeded");
    Ok(done as f64 / begin.elapsed().as_secs_f64())
}
