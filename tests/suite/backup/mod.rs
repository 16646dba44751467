//! Backups with a real pgBackRest and the files of `deploy/backup`, on a cluster with the files of `deploy/postgres`.

pub(crate) mod archive;
mod dump;
mod grants;
mod make;
mod measure;
mod restore;
mod retention;

use haven_testkit::{
    database::Database,
    template::{TestCluster, TestDatabase},
};

use self::archive::Archive;

/// Starts a cluster with the files of production that archives to a repository of its own. `None` when the packages cannot be
/// had: the test is then skipped.
async fn start() -> Option<(TestCluster, TestDatabase, Archive)> {
    let (archive, installation) = Archive::prepare()?;
    let cluster = TestCluster::production(installation).await.unwrap();
    let database = cluster.database().await.unwrap();
    archive.attach(&cluster.cluster, &database);
    Some((cluster, database, archive))
}

/// Returns the tables of Haven.
async fn tables(database: &Database) -> Vec<String> {
    let tables = "SELECT oid::regclass::text FROM pg_class
                   WHERE relkind IN ('r', 'p') AND relnamespace IN ('identity'::regnamespace, 'data'::regnamespace)
                   ORDER BY 1";
    let mut superuser = database.connect("postgres").await.unwrap();
    sqlx::query_scalar(tables)
        .fetch_all(&mut superuser)
        .await
        .unwrap()
}
