//! The command `check-database`: what its logins see, what it prints, and how it exits.

use haven_testkit::secrets::ADMIN;

use super::server::{Run, Server};

/// Returns the checks with `outcome`, after a run of `data check-database`.
async fn checks(server: &Server, run: Run, outcome: &str) -> Vec<String> {
    let findings = server.run("data", run).await.findings;
    findings
        .into_iter()
        .filter(|finding| finding.outcome == outcome)
        .map(|finding| finding.check)
        .collect()
}

#[tokio::test]
async fn checks_that_the_logins_may_not_run_are_not_seen_and_say_what_they_need() {
    let Some(server) = Server::take().await else {
        return;
    };
    let superuser_only = [
        "hba-valid",
        "hba-tls",
        "hba-methods",
        "hba-addresses",
        "hba-superuser",
        "stored-passwords",
        "large-object-functions",
    ];
    let settings = ["settings-applied", "tls-version", "preloaded-libraries"];
    for (admin, hidden) in [
        (None, [&superuser_only[..], &settings].concat()),
        (Some(ADMIN), [&superuser_only[..], &settings].concat()),
        (Some("haven_monitor"), superuser_only.to_vec()),
    ] {
        let run = Run {
            admin,
            ..Run::default()
        };
        let report = server.run("data", run).await;
        let mut unseen: Vec<_> = report
            .findings
            .iter()
            .filter(|finding| finding.outcome == "not_seen")
            .collect();
        let what = if admin.is_some() {
            "an admin's login"
        } else {
            "ADMIN_DATABASE_URL"
        };
        assert!(
            unseen
                .iter()
                .all(|finding| finding.needs.as_ref().unwrap().starts_with(what))
        );
        unseen.sort_by_key(|finding| &finding.check);
        let mut hidden = hidden;
        hidden.sort_unstable();
        let unseen: Vec<_> = unseen.iter().map(|finding| finding.check.as_str()).collect();
        assert_eq!(unseen, hidden, "{admin:?}");
        assert_eq!(
            report.output.status.code(),
            Some(0),
            "what is not seen is no failure"
        );
    }
}

#[tokio::test]
async fn what_only_production_needs_is_a_warning_in_development() {
    let Some(mut server) = Server::take().await else {
        return;
    };
    server
        .set(&[("log_connections", "off"), ("log_statement", "'all'")])
        .await;
    let run = |environment| Run {
        environment,
        ..Run::default()
    };
    let both = [
        checks(&server, run("development"), "warning").await,
        checks(&server, run("development"), "fail").await,
        checks(&server, run("production"), "fail").await,
    ];
    server
        .set(&[("log_connections", "on"), ("log_statement", "'none'")])
        .await;
    assert_eq!(
        both,
        [
            vec!["connections-recorded"],
            vec!["log-statements"],
            vec!["log-statements", "connections-recorded"]
        ]
    );
}

#[tokio::test]
async fn a_failure_is_printed_with_its_objects_its_reason_and_its_remedy() {
    let Some(mut server) = Server::take().await else {
        return;
    };
    server
        .execute(&["GRANT TRUNCATE ON data.users TO data_user"])
        .await;
    let output = server.command("data", Run::default()).output().unwrap();
    server
        .execute(&["REVOKE TRUNCATE ON data.users FROM data_user"])
        .await;
    let (printed, error) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    let line = "FAIL      rights-beyond-policies       no role has TRUNCATE, REFERENCES or TRIGGER on a table\n          \
                - data_user has TRUNCATE on data.users\n          why: Row Level Security limits none of them";
    assert!(printed.contains(line), "{printed}");
    assert!(printed.contains("\n          mend: REVOKE TRUNCATE"), "{printed}");
    assert!(
        printed
            .trim_end()
            .ends_with(" passed, 1 failed, 0 warnings, 0 not seen"),
        "{printed}"
    );
    assert!(
        error.starts_with("data: 1 of ") && error.ends_with(" checks failed\n"),
        "{error}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn disabled_checksums_are_found() {
    let Some(mut server) = Server::take().await else {
        return;
    };
    server.checksums(false).await;
    let failed = checks(&server, Run::default(), "fail").await;
    server.checksums(true).await;
    assert_eq!(failed, ["data-checksums"]);
    server.passes().await;
}

#[tokio::test]
async fn a_failing_archive_command_is_found() {
    let Some(mut server) = Server::take().await else {
        return;
    };
    let switch = [
        "SELECT pg_create_restore_point('a record to archive')",
        "SELECT pg_switch_wal()",
    ];
    let failing = "SELECT coalesce(last_failed_time > last_archived_time, false) FROM pg_stat_archiver";
    let archived = "SELECT last_archived_time > last_failed_time FROM pg_stat_archiver";
    server.set(&[("archive_command", "'/bin/false'")]).await;
    server.execute(&switch).await;
    server.until(failing).await;
    let failed = checks(&server, Run::default(), "fail").await;
    server.set(&[("archive_command", "'/bin/true'")]).await;
    server.execute(&switch).await;
    server.until(archived).await;
    assert_eq!(failed, ["archiving"]);
}

#[tokio::test]
async fn an_archive_without_a_command_is_found() {
    let Some(mut server) = Server::take().await else {
        return;
    };
    server.set(&[("archive_command", "''")]).await;
    let failed = checks(&server, Run::default(), "fail").await;
    server.set(&[("archive_command", "'/bin/true'")]).await;
    assert_eq!(failed, ["archiving"]);
}

#[tokio::test]
async fn an_old_backup_is_found_and_one_that_is_not_told_is_not_seen() {
    let Some(server) = Server::take().await else {
        return;
    };
    let run = |backup_age| Run {
        backup_age,
        ..Run::default()
    };
    assert_eq!(checks(&server, run(Some(26)), "fail").await, ["backup-age"]);
    assert_eq!(checks(&server, run(None), "not_seen").await, ["backup-age"]);
}

#[tokio::test]
async fn an_admin_of_another_database_is_refused() {
    let Some(server) = Server::take().await else {
        return;
    };
    let run = Run {
        admin: None,
        ..Run::default()
    };
    let mut command = server.command("data", run);
    command.env("ADMIN_DATABASE_URL", server.superuser_url("postgres"));
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("ADMIN_DATABASE_URL leads to another server or database"),
        "{error}"
    );
}

#[tokio::test]
async fn a_wrong_configuration_exits_with_64_and_shows_no_secret() {
    let Some(server) = Server::take().await else {
        return;
    };
    let run = Run {
        backup_age: None,
        ..Run::default()
    };
    let mut command = server.command("data", run);
    command
        .env("ADMIN_DATABASE_URL", "mysql://canary")
        .arg("--pgbackrest-info=/absent");
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{error}");
    assert!(
        error.contains("ADMIN_DATABASE_URL: is not a postgres:// URL"),
        "{error}"
    );
    assert!(
        error.contains("--pgbackrest-info: cannot read /absent"),
        "{error}"
    );
    assert!(!error.contains("canary"), "{error}");
}
