//! Every major version of Postgres that Haven runs on: the migrations with rows, the RLS matrix and a story through both services.
//!
//! The other suites run on one version: `HAVEN_POSTGRES=18 cargo test` chooses another for all of them.

mod story;

use haven_testkit::{Stack, installation::Installation, release, template::TestCluster};

use crate::{packages, rls, schema};

#[tokio::test]
async fn haven_runs_on_postgres_15() {
    haven_runs_on(15).await;
}

#[tokio::test]
async fn haven_runs_on_postgres_16() {
    haven_runs_on(16).await;
}

#[tokio::test]
async fn haven_runs_on_postgres_17() {
    haven_runs_on(17).await;
}

#[tokio::test]
async fn haven_runs_on_postgres_18() {
    haven_runs_on(18).await;
}

async fn haven_runs_on(major: u32) {
    let Some(installation) = packages::or_skip(&[release::PACKAGE], Installation::of_major(major)) else {
        return;
    };
    assert_eq!(installation.version.major, major);
    eprintln!("Postgres {}", installation.version);
    let cluster = TestCluster::of(installation.clone()).await.unwrap();
    rls::run_matrix(&cluster, rls::Protection::PrivilegesAndPolicies)
        .await
        .unwrap();
    let template = cluster.database().await.unwrap();
    schema::migrations::migrate_and_revert(&template, &installation)
        .await
        .unwrap();
    drop(template);
    let stack = Stack::builder().on(cluster).start().await.unwrap();
    story::tell(&stack).await;
}
