//! The cost of the counters: calls a second with their triggers and without, side by side.
//!
//! `cargo test --test suite -- quotas::cost --ignored --nocapture`

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use haven_testkit::{Stack, random};

use super::say;
use crate::{superuser_sql::execute, test_device::Device};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(4);
const CALLERS: usize = 8;

/// The triggers of all counted tables, on or off.
const SWITCH: &str = "DO $$ DECLARE t record; BEGIN
    FOR t IN SELECT tgrelid::regclass AS relation, tgname FROM pg_trigger WHERE tgname LIKE 'usage\\_%' LOOP
        EXECUTE format('ALTER TABLE %s SWITCH TRIGGER %I', t.relation, t.tgname);
    END LOOP; END $$";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, which takes minutes"]
async fn calls_a_second_with_and_without_counters() {
    let stack = Stack::start().await.unwrap();
    let devices = join_all((0..CALLERS).map(|_| Device::invent(&stack))).await;
    let devices: Vec<_> = devices.into_iter().map(Result::unwrap).collect();
    let append = async |device: &Device| drop(say(&device.client, "hello").await.unwrap());
    let create = async |device: &Device| {
        let request = device.create(random::uuid(), "content").unwrap();
        device.client.cycle().create_record(request).await.unwrap();
    };
    for is_append in [true, false] {
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            let mut rates = [0.0; 2];
            for (rate, switch) in rates.iter_mut().zip(["ENABLE", "DISABLE"]) {
                execute(&stack.database, &SWITCH.replace("SWITCH", switch)).await;
                let end = Instant::now() + ROUND;
                let calls = join_all(devices.iter().map(async |device| {
                    let mut calls = 0;
                    while Instant::now() < end {
                        if is_append {
                            append(device).await;
                        } else {
                            create(device).await;
                        }
                        calls += 1;
                    }
                    calls
                }));
                *rate = f64::from(calls.await.into_iter().sum::<u32>()) / ROUND.as_secs_f64();
            }
            ratios.push((rates[0] / rates[1], rates));
        }
        ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
        let name = if is_append {
            "AppendMessage"
        } else {
            "CreateRecord"
        };
        let (median, rates) = ratios[ROUNDS / 2];
        println!(
            "{name}: {median:.2} ({:.2} to {:.2}); {:.0} a second with counters, {:.0} without",
            ratios[0].0,
            ratios[ROUNDS - 1].0,
            rates[0],
            rates[1]
        );
    }
}
