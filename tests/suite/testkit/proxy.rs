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
        "the handshakes of TLS and SCRAM take more than two, and {before} were counted"
    );
    let mut trips = || {
        let trips = proxy.round_trips() - before;
        before += trips;
        trips
    };

    // One trip prepares the statement, one runs it; then it is prepared.
    sqlx::query("SELECT 1").execute(&mut connection).await?;
    assert_eq!(trips(), 2);
    sqlx::query("SELECT 1").execute(&mut connection).await?;
    assert_eq!(trips(), 1);
    // However many statements, and however long their answers, if they are sent together.
    sqlx::raw_sql("SELECT 1; SELECT repeat('x', 1000000); SELECT 2")
        .execute(&mut connection)
        .await?;
    assert_eq!(trips(), 1);
    Ok(())
}
