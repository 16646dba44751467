//! Client certificates, the documented option for logins on fixed machines.

use std::fs;

use haven_testkit::{certificates::Certificates, template::TestCluster};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

use super::{code_and_message, installation};
use crate::eventually::eventually;

#[tokio::test]
async fn a_certificate_whose_common_name_is_the_login_replaces_its_password() {
    let Some(installation) = installation() else {
        return;
    };
    let cluster = TestCluster::production(installation).await.unwrap();
    let database = cluster.database().await.unwrap();
    let (data, authority) = (cluster.cluster.data(), &database.authority);
    // The two changes that README.md names.
    fs::copy(authority, data.join("root.crt")).unwrap();
    for (file, from, to) in [
        ("postgresql.conf", "#ssl_ca_file", "ssl_ca_file"),
        ("pg_hba.conf", "scram-sha-256", "cert"),
    ] {
        let text = fs::read_to_string(data.join(file)).unwrap();
        // Only the services' logins: the superuser of this test goes on with its password.
        let lines = text.lines().map(|line| match line.contains("postgres") {
            true => line.to_owned(),
            false => line.replace(from, to),
        });
        fs::write(data.join(file), lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
    }
    database.run("postgres", "SELECT pg_reload_conf()").await.unwrap();

    let certificates = Certificates::keep(authority.parent().unwrap()).unwrap();
    // As in DATABASE_URL.
    let options = |name: &str| -> PgConnectOptions {
        let leaf = certificates.issue(name).unwrap();
        let url = format!(
            "postgres://data_app@127.0.0.1:{}/haven?sslmode=verify-full&sslrootcert={}&sslcert={}&sslkey={}",
            database.port,
            authority.display(),
            leaf.certificate.display(),
            leaf.key.display(),
        );
        url.parse().unwrap()
    };
    let own = options("data_app");
    eventually("the server has read the files", async || {
        let connected = PgConnection::connect_with(&own).await;
        match connected {
            Ok(connection) => connection.close().await.is_ok(),
            Err(_) => false,
        }
    })
    .await;
    for (refused, expected) in [
        (
            options("backend"),
            r#"certificate authentication failed for user "data_app""#,
        ),
        (
            database.options("data_app"),
            "connection requires a valid client certificate",
        ),
    ] {
        let error = PgConnection::connect_with(&refused).await.unwrap_err();
        let (code, message) = code_and_message(&error);
        assert_eq!((code.as_str(), message.as_str()), ("28000", expected));
    }
}
