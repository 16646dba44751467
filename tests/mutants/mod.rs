//! Mutants of the schema: single changes of a policy, grant, constraint, function, trigger, view or role, generated from the
//! catalog. A change that no check notices is a condition that nothing tests.
//!
//! | | |
//! | --- | --- |
//! | [`mutant`], [`expression`], [`rules`] | the changes, from the queries in `generate/` |
//! | [`judge`] | applies one, runs the checks, takes it back |
//! | [`report`] | the counts, and the survivors with their reasons |
//!
//! `tests/mutants/run` judges all of them. The suite judges a sample, which is another one each day.

mod expression;
mod judge;
mod mutant;
mod report;
mod rules;

use std::{
    collections::BTreeMap,
    env,
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use haven_testkit::template::TestCluster;

use self::{
    judge::{Judge, Verdict, judge_all},
    mutant::Mutant,
    report::Report,
};

/// Chooses the sample. The seed is the number of the day when it is not set.
const SEED: &str = "HAVEN_MUTANTS_SEED";
/// The number of mutants in the sample.
const COUNT: &str = "HAVEN_MUTANTS_COUNT";
/// Words, of which the name of a judged mutant has one; separated by commas.
const ONLY: &str = "HAVEN_MUTANTS_ONLY";
/// The number of mutants that are judged at the same time.
const JOBS: &str = "HAVEN_MUTANTS_JOBS";
/// Judges every n-th mutant only.
const EVERY: &str = "HAVEN_MUTANTS_EVERY";

#[tokio::test]
async fn a_sample_of_mutants_is_killed() -> Result<()> {
    let day = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 86_400;
    let (seed, count) = (number(SEED, day)?, number(COUNT, 20)?);
    let database = TestCluster::shared().await?.database().await?;
    let mut judge = Judge::new(&database).await?;
    let chosen = sample(judge.mutants().await?, seed, usize::try_from(count)?);
    // Not a macro, whose output is only shown when the test fails.
    writeln!(
        io::stderr(),
        "{} mutants of the schema: repeat them with {SEED}={seed} {COUNT}={count}",
        chosen.len()
    )?;
    let mut report = Report::default();
    judge_all(&mut judge, chosen, |mutant, verdict, seconds| {
        let what = match verdict {
            Verdict::Killed(check, _) => format!("killed by {check}"),
            Verdict::Survived => "survived".to_owned(),
            Verdict::Inapplicable(why) => format!("not applicable: {why}"),
        };
        eprintln!("{seconds:.2} s, {what}: {}", mutant.name());
        report.add(mutant, verdict, seconds);
    })
    .await?;
    conclude(&report)
}

/// Without a mutant every check passes, or each mutant would seem to be killed.
#[tokio::test]
async fn the_schema_itself_survives() -> Result<()> {
    let database = TestCluster::shared().await?.database().await?;
    let mut judge = Judge::new(&database).await?;
    judge.approve_the_schema().await
}

/// Takes many minutes, so it is run by `tests/mutants/run`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes many minutes: tests/mutants/run"]
async fn every_mutant_is_killed() -> Result<()> {
    let jobs = usize::try_from(number(JOBS, 2)?)?.max(1);
    let every = usize::try_from(number(EVERY, 1)?)?.max(1);
    let only = env::var(ONLY).unwrap_or_default();
    let words: Vec<&str> = only.split(',').filter(|word| !word.is_empty()).collect();
    let cluster = TestCluster::shared().await?;
    let mut tasks = Vec::new();
    for job in 0..jobs {
        let database = cluster.database().await?;
        let mut judge = Judge::new(&database).await?;
        judge.approve_the_schema().await?;
        let mutants = judge.mutants().await?.into_iter();
        let mutants = mutants
            .filter(|mutant| words.is_empty() || words.iter().any(|word| mutant.name().contains(word)));
        let mutants: Vec<Mutant> = mutants.step_by(every).skip(job).step_by(jobs).collect();
        eprintln!("job {job}: {} mutants", mutants.len());
        tasks.push(tokio::spawn(async move {
            let mut report = Report::default();
            let judged = judge_all(&mut judge, mutants, |mutant, verdict, seconds| {
                if matches!(verdict, Verdict::Survived) {
                    eprintln!("survived: {}", mutant.name());
                }
                report.add(mutant, verdict, seconds);
                if report.judged().is_multiple_of(100) {
                    eprintln!("job {job}: {} judged", report.judged());
                }
            });
            judged.await?;
            // At the end too: rows of the seed that expired during the run would have killed every later mutant.
            judge.approve_the_schema().await?;
            drop(database);
            anyhow::Ok(report)
        }));
    }
    let mut report = Report::default();
    for task in tasks {
        report.merge(task.await??);
    }
    report.write()?;
    println!("{}", report.table());
    conclude(&report)
}

/// Fails when a mutant survived without a reason.
fn conclude(report: &Report) -> Result<()> {
    ensure!(report.judged() > 0, "no mutant could be applied");
    let unexplained = report.unexplained()?;
    ensure!(
        unexplained.is_empty(),
        "no check noticed {} of {} changes of the schema; write a test that does, or a reason in \
         tests/mutants/survivors.toml:\n{}",
        unexplained.len(),
        report.judged(),
        unexplained.join("\n")
    );
    Ok(())
}

fn number(variable: &str, default: u64) -> Result<u64> {
    match env::var(variable) {
        Ok(value) => value
            .parse()
            .with_context(|| format!("{variable} must be a number")),
        Err(_) => Ok(default),
    }
}

/// Returns `count` mutants of as many kinds as possible, chosen by `seed`.
fn sample(mutants: Vec<Mutant>, seed: u64, count: usize) -> Vec<Mutant> {
    let mut kinds: BTreeMap<String, Vec<Mutant>> = BTreeMap::new();
    for mutant in mutants {
        kinds.entry(mutant.kind.clone()).or_default().push(mutant);
    }
    let mut kinds: Vec<Vec<Mutant>> = kinds.into_values().collect();
    let mut state = seed;
    let mut draw = |below: usize| {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % below as u64).unwrap_or_default()
    };
    let mut chosen = Vec::new();
    while chosen.len() < count && !kinds.is_empty() {
        // Each kind once, in another order, before any kind twice.
        let mut round: Vec<usize> = (0..kinds.len()).collect();
        while !round.is_empty() && chosen.len() < count {
            let kind = round.swap_remove(draw(round.len()));
            let at = draw(kinds[kind].len());
            chosen.push(kinds[kind].swap_remove(at));
        }
        kinds.retain(|kind| !kind.is_empty());
    }
    chosen
}

#[test]
fn a_sample_depends_on_its_seed_only() {
    let mutants: Vec<Mutant> = (0..100)
        .map(|number| Mutant {
            kind: format!("kind {}", number % 7),
            subject: number.to_string(),
            relation: String::new(),
            role: String::new(),
            apply: String::new(),
        })
        .collect();
    let first = sample(mutants.clone(), 1, 20);
    assert_eq!(first.len(), 20);
    assert_eq!(first, sample(mutants.clone(), 1, 20));
    assert_ne!(first, sample(mutants.clone(), 2, 20));
    let kinds: std::collections::BTreeSet<_> = first.iter().map(|mutant| &mutant.kind).collect();
    assert_eq!(kinds.len(), 7);
    assert_eq!(sample(mutants, 1, 1000).len(), 100);
}
