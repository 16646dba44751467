//! Benchmark of AnalysisQueueService: jobs a second, and the time until a waiting worker gets a job.
//!
//! ```sh
//! cargo bench -p haven-testkit --bench queue
//! cargo bench -p haven-testkit --bench queue -- CompleteJob --against DIR
//! cargo bench -p haven-testkit --bench queue -- pickup
//! ```
//!
//! Both services are release builds, on a separate durable Postgres with 40,000 jobs, each with one message. Each worker
//! leases and completes one job after the other, or ten with one call each; all share the cores with the service and
//! Postgres. For `pickup`, a worker waits at one replica of data, and a person requests an analysis at another one. A
//! build that can hear of jobs (`LISTEN_DATABASE_URL`) does so in a second series.

mod jobs;
#[path = "../measure/mod.rs"]
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod measure;
mod pickup;
mod workers;

use std::path::Path;

use anyhow::{Context, Result};
use futures_util::FutureExt;
use haven_testkit::{Stack, binaries::Binaries};

use self::{
    jobs::JOBS_OF_EACH,
    measure::{
        CONNECTIONS,
        build::Builds,
        comparison::{Work, compare},
        options::Options,
        profile::profile,
        side::{Kind, Side},
    },
    pickup::{Replicas, can_listen},
    workers::{Batch, Workers},
};

/// The default number of workers.
const WORKERS: usize = 16;

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse(
        "Measures the analysis queue: jobs done one or ten at a time, and the time until a waiting worker gets a job",
        &["CompleteJob", "CompleteJobs", "pickup"],
    );
    let stack = Stack::builder()
        .durable_cluster()
        .variable("data", "DATABASE_POOL_SIZE", CONNECTIONS.to_string())
        .start()
        .await?;
    let people = options.people(10, 400);
    let builds = Builds::start(stack, &options).await?;
    if options.wants("pickup") && !options.profile {
        pick_up(&options, &builds.stack).await?;
    }
    jobs::load(&builds.stack, people).await.context("loading")?;
    println!("{} jobs of {people} people\n", people * JOBS_OF_EACH);
    for batch in Batch::ALL {
        if options.wants(batch.name()) {
            complete(&options, &builds, batch).await?;
        }
    }
    Ok(())
}

/// Measures LeaseJobs, and CompleteJob or CompleteJobs. A build without CompleteJobs is left out.
async fn complete(options: &Options, builds: &Builds, batch: Batch) -> Result<()> {
    let (builds, count) = (builds.all(), options.callers(WORKERS));
    let mut workers = Vec::new();
    for build in builds {
        let of_build = Workers::new(build, count)?;
        if of_build.can(batch).await {
            workers.push(of_build);
        }
    }
    let name = match batch {
        Batch::One => "LeaseJobs and CompleteJob, one job at a time",
        Batch::Ten => "LeaseJobs and CompleteJobs, ten jobs at a time",
    };
    if options.profile {
        let run = |turn| workers[0].run(batch, turn).boxed();
        return profile(name, workers[0].meter(), options.turn(), run).await;
    }
    let sides = workers.iter().map(|workers| {
        Side::new(workers.name(), Kind::Service, move |turn| {
            workers.run(batch, turn).boxed()
        })
    });
    let work = Work {
        name: name.to_owned(),
        units: "jobs",
        amounts: &[(1.0, "a job")],
    };
    compare(&work, options, sides.collect()).await
}

/// Measures the time from the creation of a job until a waiting worker has it, for each build.
async fn pick_up(options: &Options, stack: &Stack) -> Result<()> {
    let binaries = Binaries::build()?;
    let this = binaries.data.parent().context("the folder of the programs")?;
    let builds = [
        ("this build", Some(this)),
        ("other build", options.against.as_deref()),
    ];
    for (name, folder) in builds {
        let Some(folder) = folder else { continue };
        series(options, stack, folder, &format!("{name}, polling"), false).await?;
        if can_listen(folder)? {
            series(options, stack, folder, &format!("{name}, listening"), true).await?;
        } else {
            println!("{name} cannot listen\n");
        }
    }
    Ok(())
}

/// Measures one series of jobs.
async fn series(options: &Options, stack: &Stack, folder: &Path, name: &str, listen: bool) -> Result<()> {
    let count = match options.quick {
        true => 4,
        false => 20 * options.rounds(),
    };
    let person = stack.person().await?;
    let replicas = Replicas::start(stack, folder, listen).await?;
    let mut times = replicas.pickups(stack, &person, count).await?;
    times.sort();
    let percentile =
        |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1000.0;
    println!(
        "pickup across two replicas, {name}: median {:.1} ms, 95th percentile {:.1} ms, at most {:.1} ms ({count} jobs)\n",
        percentile(50),
        percentile(95),
        percentile(100),
    );
    Ok(())
}
