//! SignUp through the whole service, against bare argon2id hashes on the same cores, in turns of one run.
//!
//! ```sh
//! cargo bench -p haven-testkit --bench sign_up
//! ```
//!
//! Both services run as released, on a Postgres of their own that writes to disk before it answers. The clients are
//! here, so they, TLS on both sides, both services and Postgres share the cores with the hashing: the ratio says what
//! all of that costs beside it.

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

const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const SECRET: &[u8] = &[7; 32];

/// How many turns each takes.
const ROUNDS: usize = 5;
/// How long a turn is.
const TURN: Duration = Duration::from_secs(8);
/// How many sign-ups are under way at once, on how many connections.
const CLIENTS: usize = 16;
const CONNECTIONS: usize = 4;

#[tokio::main]
async fn main() -> Result<()> {
    let cores = available_parallelism()?.get();
    println!("{cores} cores, {ROUNDS} rounds of {} s each", TURN.as_secs());
    let stack = Stack::builder().durable_cluster().start().await?;
    // Connections, prepared statements and the hash memory are made before anything is measured.
    sign_ups(&stack, Duration::from_secs(2)).await?;
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        let fast = hashes(cores, argon2_rust)?;
        let slow = hashes(cores, argon2)?;
        let through = sign_ups(&stack, TURN).await?;
        let fastest = fast.max(slow);
        ratios.push(through / fastest);
        println!(
            "round {round}: bare argon2-rust {fast:.1}/s, bare argon2 {slow:.1}/s, SignUp {through:.1}/s, \
             SignUp to the faster kernel {:.3}",
            through / fastest
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

/// Hashes a second on all cores, each with memory of its own that it uses again.
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

/// Sign-ups a second, each of somebody else.
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
    ensure!(done > 0, "nobody signed up");
    Ok(done as f64 / begin.elapsed().as_secs_f64())
}
