//! Benchmark of SignUp and SignIn: compares the service with bare argon2id hashes on the same cores, in alternating turns.
//!
//! ```sh
//! cargo bench -p haven-testkit --bench sign_up
//! cargo bench -p haven-testkit --bench sign_up -- SignUp --against DIR
//! ```
//!
//! Both services are release builds, on a separate durable Postgres. The clients are in this process. So the clients,
//! TLS on both sides, both services and Postgres share the cores with the hashing, and the ratio of rates shows the cost
//! of all of that. The CPU time of the service is that of identity and data together; that of hashes is one of clients.

mod callers;
mod hashes;
#[path = "../measure/mod.rs"]
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod measure;

use anyhow::Result;
use futures_util::FutureExt;
use haven_testkit::Stack;

use self::{
    callers::{Callers, Operation},
    measure::{
        build::Builds,
        comparison::{Work, compare},
        options::Options,
        profile::profile,
        side::{Kind, Side},
    },
};

/// The default number of concurrent callers.
const CALLERS: usize = 16;

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse(
        "Compares SignUp and SignIn with bare argon2id hashes on the same cores",
        &["SignUp", "SignIn"],
    );
    let stack = Stack::builder().durable_cluster().start().await?;
    let builds = Builds::start(stack, &options).await?;
    let builds = builds.all();
    // Each of them has few enough sessions, or gets new ones in place of the oldest.
    let people = callers::people(builds[0], options.people(16, 500)).await?;
    let count = options.callers(CALLERS);
    let callers: Vec<_> = builds
        .iter()
        .map(|build| Callers::new(*build, count, &people))
        .collect::<Result<_>>()?;
    let meter = callers[0].meter();
    if options.profile {
        for operation in Operation::ALL.into_iter().filter(|one| options.wants(one.name())) {
            let run = |turn| callers[0].run(operation, turn).boxed();
            profile(operation.name(), meter, options.turn(), run).await?;
        }
        return Ok(());
    }
    let (kernel_name, kernel) = hashes::fastest(meter, options.turn() / 2).await?;
    for operation in Operation::ALL.into_iter().filter(|one| options.wants(one.name())) {
        let mut sides = Vec::new();
        for (build, callers) in builds.iter().zip(&callers) {
            sides.push(Side::new(build.name, Kind::Service, move |turn| {
                callers.run(operation, turn).boxed()
            }));
        }
        sides.push(Side::new(kernel_name, Kind::Hashes, move |turn| {
            hashes::hashes(meter, turn, kernel).boxed()
        }));
        compare(&Work::requests(operation.name()), &options, sides).await?;
    }
    Ok(())
}
