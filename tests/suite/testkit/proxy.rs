//! The proxy that counts round trips.

use anyhow::Result;
use haven_testkit::{proxy::Proxy, template::TestCluster};
use sqlx::{Connection, PgConnection};

#[tokio::test]
async fn a_proxy_counts_round_trips_through_tls() -> Result<()> {
    let database = TestCluster::shared().await?.database().await?;
    let proxy = Proxy::start(database.port).await?;
    let options = database.options("haven_readonly").port(proxy.port());
    let mut connection = PgConnection::connect_with(&options).await?;
    let mut before = proxy.round_trips();
    assert!(
        before > 2,
        "TLS and SCRAM take more than two round trips, but {before} were counted"
    );
    let mut trips = || {
        let trips = proxy.round_trips() - before;
        before += trips;
        trips
    };

    // The first execution prepares the statement in a round trip of its own.
    sqlx::query("SELECT 1").execute(&mut connection).await?;
    assert_eq!(trips(), 2);
    sqlx::query("SELECT 1").execute(&mut connection).await?;
    assert_eq!(trips(), 1);
    // Statements that are sent together take one round trip, for results of any length.
    sqlx::raw_sql("SELECT 1; SELECT repeat('x', 1000000); SELECT 2")
        .execute(&mut connection)
        .await?;
    assert_eq!(trips(), 1);
    Ok(())
}
