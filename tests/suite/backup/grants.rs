//! What `haven_backup` may do: what pgBackRest needs, and no more.

use haven_testkit::secrets::SUPERUSER;

use super::{archive::text, start, tables};

/// The grants of the login: the statements that take one away and give it again, the command that needs it, and a part of what
/// the command says without it.
const GRANTS: [(&str, &str, &[&str], &str); 6] = [
    (
        "REVOKE pg_read_all_settings FROM haven_backup",
        "GRANT pg_read_all_settings TO haven_backup",
        &["check"],
        "pg_read_all_settings",
    ),
    (
        "REVOKE EXECUTE ON FUNCTION pg_create_restore_point(text) FROM haven_backup",
        "GRANT EXECUTE ON FUNCTION pg_create_restore_point(text) TO haven_backup",
        &["check"],
        "permission denied for function pg_create_restore_point",
    ),
    (
        "REVOKE EXECUTE ON FUNCTION pg_switch_wal() FROM haven_backup",
        "GRANT EXECUTE ON FUNCTION pg_switch_wal() TO haven_backup",
        &["check"],
        "permission denied for function pg_switch_wal",
    ),
    (
        "REVOKE EXECUTE ON FUNCTION pg_backup_start(text, boolean) FROM haven_backup",
        "GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean) TO haven_backup",
        &["--type=full", "backup"],
        "permission denied for function pg_backup_start",
    ),
    (
        "REVOKE EXECUTE ON FUNCTION pg_backup_stop(boolean) FROM haven_backup",
        "GRANT EXECUTE ON FUNCTION pg_backup_stop(boolean) TO haven_backup",
        &["--type=full", "backup"],
        "permission denied for function pg_backup_stop",
    ),
    (
        "REVOKE CONNECT ON DATABASE haven FROM haven_backup",
        "GRANT CONNECT ON DATABASE haven TO haven_backup",
        &["check"],
        "permission denied for database \"haven\"",
    ),
];

#[tokio::test]
async fn pgbackrest_works_with_the_grants_of_its_login_and_fails_without_each() {
    let Some((_cluster, database, archive)) = start().await else {
        return;
    };
    for command in [["check"].as_slice(), &["--type=full", "backup"]] {
        let output = archive.backrest(command);
        assert!(output.status.success(), "{}", text(&output));
    }
    for (take, give, command, refusal) in GRANTS {
        database.run(SUPERUSER, take).await.unwrap();
        let output = archive.backrest(command);
        assert!(!output.status.success(), "{take}: {}", text(&output));
        assert!(text(&output).contains(refusal), "{take}: {}", text(&output));
        database.run(SUPERUSER, give).await.unwrap();
    }
    let output = archive.backrest(&["--type=diff", "backup"]);
    assert!(output.status.success(), "{}", text(&output));
}

#[tokio::test]
async fn the_login_for_backups_reads_no_table_and_cannot_stream() {
    let Some((_cluster, database, archive)) = start().await else {
        return;
    };
    let psql = |parameters: &str, sql: &str| {
        let login = format!("user=haven_backup dbname=haven {parameters}");
        let mut psql = archive.command("psql");
        text(
            &psql
                .args(["--no-psqlrc", "--command", sql, &login])
                .output()
                .unwrap(),
        )
    };
    assert!(psql("", "SELECT 1 AS one").contains("one"), "the control");
    let tables = tables(&database).await;
    assert!(tables.len() > 20, "{tables:?}");
    for table in tables {
        let answer = psql("", &format!("SELECT 1 FROM {table}"));
        assert!(
            answer.contains("permission denied for schema"),
            "{table}: {answer}"
        );
    }
    for parameters in ["replication=true", "replication=database"] {
        let answer = psql(parameters, "IDENTIFY_SYSTEM");
        // The file of addresses has no line for the protocol itself, and the role may not use it in its database.
        let refused = [
            "no pg_hba.conf entry for replication",
            "role to start walsender",
            "permission denied to start WAL sender",
        ];
        assert!(refused.iter().any(|message| answer.contains(message)), "{answer}");
    }
}
