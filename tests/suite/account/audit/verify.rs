//! Command `identity audit verify`: it reports every broken chain with its first broken event.

use std::{cell::Cell, fs, process::Command};

use haven_testkit::{Person, Stack, binaries::Binaries};

use super::{as_service, make_event, person_with_events, verify};
use crate::superuser_sql::execute;

#[tokio::test]
async fn intact_chains_verify_and_their_ends_have_a_digest() {
    let stack = Stack::start().await.unwrap();
    let empty = verify(&stack);
    assert_eq!(empty.code, 0);
    assert_eq!(empty.summary, "0 chains, 0 whole events, 0 broken chains");
    let person = person_with_events(&stack).await;
    person_with_events(&stack).await;
    let before = verify(&stack);
    assert_eq!((before.code, before.broken.len()), (0, 0));
    assert_eq!(before.summary, "2 chains, 10 whole events, 0 broken chains");
    assert_eq!(verify(&stack).heads, before.heads, "no event was appended");
    make_event(&stack.user(&person).unwrap()).await;
    assert_ne!(verify(&stack).heads, before.heads);

    // A superuser can shorten a chain so that it verifies. Only the digest of all ends shows it.
    let before = verify(&stack);
    let shorten = format!(
        "DELETE FROM identity.security_audit_log WHERE user_id = '{0}' AND number = 6;
         UPDATE identity.audit_chains AS c SET last_number = 5, last_digest = l.digest
             FROM identity.security_audit_log AS l
             WHERE c.user_id = '{0}' AND l.user_id = '{0}' AND l.number = 5",
        person.id
    );
    execute(&stack.database, &shorten).await;
    let after = verify(&stack);
    assert_eq!(after.code, 0);
    assert_ne!(after.heads, before.heads);
}

#[tokio::test]
async fn the_outcome_is_written_as_metrics_that_a_failed_run_does_not_touch() {
    let stack = Stack::start().await.unwrap();
    let person = person_with_events(&stack).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.prom");
    let run = |url: &str| {
        let output = Command::new(Binaries::build().unwrap().identity)
            .args(["audit", "verify", "--metrics"])
            .arg(&path)
            .env_clear()
            .env("WORKER_DATABASE_URL", url)
            .output()
            .unwrap();
        let text = fs::read_to_string(&path).unwrap_or_default();
        let value = |name: &str| {
            let values = text.lines().filter_map(|line| line.split_once(' '));
            let mut values = values.filter(|(found, _)| *found == name);
            values.next().map(|(_, value)| value.parse::<f64>().unwrap())
        };
        let values = ["chains", "chains_broken", "verified_timestamp_seconds"]
            .map(|name| value(&format!("haven_audit_{name}")));
        (output.status.code(), values)
    };
    let url = stack.database.url("identity_worker");
    let (code, [chains, broken, first]) = run(&url);
    assert_eq!((code, chains, broken), (Some(0), Some(1.0), Some(0.0)));
    let age = chrono::Utc::now().timestamp() as f64 - first.unwrap();
    assert!((0.0..600.0).contains(&age), "{age}");

    let (code, values) = run("postgres://identity_worker@127.0.0.1:1/haven");
    assert_eq!((code, values), (Some(1), [chains, broken, first]));

    let break_it = format!(
        "UPDATE identity.security_audit_log SET refused = true WHERE user_id = '{}' AND number = 2",
        person.id
    );
    execute(&stack.database, &break_it).await;
    let (code, [chains, broken, _]) = run(&url);
    assert_eq!((code, chains, broken), (Some(1), Some(1.0), Some(1.0)));
    let files = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, 1, "no draft stays");
}

#[tokio::test]
async fn the_first_broken_event_of_each_chain_is_reported() {
    let stack = Stack::start().await.unwrap();
    // Each person has events 1 to 5. `$` stands for the table, `#` for the condition that selects the person's rows.
    let attacks = [
        (
            "UPDATE $ SET refused = true WHERE # AND number = 2",
            "event 2: it was changed",
        ),
        (
            "UPDATE $ SET service = 'backend' WHERE # AND number = 4",
            "event 4: it was changed",
        ),
        (
            "UPDATE $ SET occurred_at = occurred_at + interval '1 microsecond' WHERE # AND number = 1",
            "event 1: it was changed",
        ),
        (
            "UPDATE $ SET occurred_at = 'infinity' WHERE # AND number = 3",
            "event 3: it was changed",
        ),
        (
            "UPDATE $ SET network_mac = NULL WHERE # AND number = 5",
            "event 5: it was changed",
        ),
        (
            "UPDATE $ SET digest = sha256('x') WHERE # AND number = 5",
            "event 5: it was changed",
        ),
        ("DELETE FROM $ WHERE # AND number = 1", "event 1: it is missing"),
        ("DELETE FROM $ WHERE # AND number = 3", "event 3: it is missing"),
        ("DELETE FROM $ WHERE # AND number = 5", "event 5: it is missing"),
        ("DELETE FROM $ WHERE #", "event 1: it is missing"),
        (
            "INSERT INTO $ (user_id, number, event, refused, occurred_at, digest)
                 SELECT user_id, 6, event, refused, occurred_at, digest FROM $ WHERE # AND number = 5",
            "event 6: it was inserted",
        ),
        (
            "UPDATE $ SET number = 12 WHERE # AND number = 2; UPDATE $ SET number = 2 WHERE # AND number = 3;
             UPDATE $ SET number = 3 WHERE # AND number = 12",
            "event 2: it was changed",
        ),
        (
            "UPDATE identity.audit_chains SET last_digest = sha256('x') WHERE #",
            "event 5: it is not the stored end",
        ),
        (
            "UPDATE identity.audit_chains SET trimmed_digest = sha256('x') WHERE #",
            "event 1: it was changed",
        ),
        (
            "UPDATE identity.audit_chains SET trimmed_number = 2 WHERE #",
            "event 1: it was inserted",
        ),
        (
            "UPDATE identity.audit_chains SET last_number = 4 WHERE #",
            "event 5: it was inserted",
        ),
        (
            "UPDATE identity.audit_chains SET last_number = 9 WHERE #",
            "event 6: it is missing",
        ),
        (
            "DELETE FROM identity.audit_chains WHERE #",
            "event 1: the stored ends",
        ),
    ];
    let mut expected = Vec::new();
    for (attack, report) in attacks {
        let person = person_with_events(&stack).await;
        let attack = attack
            .replace('$', "identity.security_audit_log")
            .replace('#', &format!("user_id = '{}'", person.id));
        execute(&stack.database, &attack).await;
        expected.push((person.id, report));
    }
    person_with_events(&stack).await;
    let verdict = verify(&stack);
    assert_eq!(verdict.code, 1);
    for (person, report) in &expected {
        let line = format!("{person}: {report}");
        assert!(
            verdict.broken.iter().any(|broken| broken.starts_with(&line)),
            "{line} is not in {:#?}",
            verdict.broken
        );
    }
    assert_eq!(verdict.broken.len(), expected.len(), "{:#?}", verdict.broken);
    assert!(
        verdict
            .summary
            .ends_with(&format!(", {} broken chains", expected.len())),
        "{}",
        verdict.summary
    );
}

/// SQL expression of times as several clocks may give them: some before 1970, with microseconds, not in order.
const ANY_TIMES: &str =
    "CASE n % 7 WHEN 0 THEN '1969-12-31 23:59:59.999999+00'::timestamptz - n * interval '1 day'
    ELSE clock_timestamp() END";

/// Returns SQL that appends `count` events to the person's log, as a request of theirs does, each at the time `at`. Some
/// service names contain the digest's field separator.
fn appending(person: &Person, count: i64, at: &str) -> String {
    format!(
        "BEGIN; SET LOCAL ROLE identity_user;
         SELECT set_config('request.jwt.claims', '{{\"sub\":\"{}\"}}', true);
         SELECT identity.append_audit_event('sign_in', n % 2 = 0, CASE n % 3 WHEN 0 THEN 'a|b||ü' || n END, NULL,
             CASE n % 5 WHEN 0 THEN sha256(n::text::bytea) END,
             {at})
         FROM generate_series(1, {count}) AS n;
         COMMIT",
        person.id
    )
}

#[tokio::test]
async fn chains_longer_than_a_page_verify_and_break_at_the_first_changed_event() {
    let stack = Stack::start().await.unwrap();
    let mut people = Vec::new();
    for count in [998, 2500, 999] {
        let person = stack.person().await.unwrap();
        execute(&stack.database, &appending(&person, count, ANY_TIMES)).await;
        people.push(person);
    }
    let verdict = verify(&stack);
    assert_eq!(
        (verdict.code, verdict.broken.len()),
        (0, 0),
        "{:?}",
        verdict.broken
    );
    assert_eq!(verdict.summary, "3 chains, 4503 whole events, 0 broken chains");
    for number in [2001, 1000, 1] {
        let attack = format!(
            "UPDATE identity.security_audit_log SET refused = NOT refused WHERE user_id = '{}' AND number = {number}",
            people[1].id
        );
        execute(&stack.database, &attack).await;
        let verdict = verify(&stack);
        let first = format!("{}: event {number}: ", people[1].id);
        assert!(verdict.broken[0].starts_with(&first), "{:?}", verdict.broken);
        assert_eq!((verdict.code, verdict.broken.len()), (1, 1));
    }
}

#[tokio::test]
async fn verification_succeeds_while_events_are_appended_and_trimmed() {
    let stack = Stack::start().await.unwrap();
    let mut people = Vec::new();
    for _ in 0..3 {
        let person = stack.person().await.unwrap();
        execute(
            &stack.database,
            &appending(
                &person,
                1500,
                "now() - interval '400 days' + n * interval '1 second'",
            ),
        )
        .await;
        people.push(person);
    }
    let clients: Vec<_> = people.iter().map(|person| stack.user(person).unwrap()).collect();
    let database = (*stack.database).clone();
    let rounds = Cell::new(0);
    let busy = async {
        loop {
            for client in &clients {
                make_event(client).await;
            }
            // Trims the oldest event at the same time.
            let oldest = "identity.trim_audit_log(now() - min(occurred_at) - interval '2 seconds', 1)
                FROM identity.security_audit_log";
            as_service(&database, oldest).await;
            rounds.set(rounds.get() + 1);
        }
    };
    let verifying = async {
        for times in 1.. {
            let (binary, variables) = (Binaries::build().unwrap(), stack.identity.variables.clone());
            let run = move || {
                let mut command = Command::new(binary.of("identity"));
                command
                    .args(["audit", "verify"])
                    .env_clear()
                    .envs(variables)
                    .output()
            };
            let output = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
            let stdout = String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(0), "{stdout}");
            if times >= 5 && rounds.get() >= 5 {
                break;
            }
        }
    };
    tokio::select! {
        () = verifying => {}
        () = busy => {}
    }
    assert_eq!(verify(&stack).code, 0);
}

#[tokio::test]
async fn missing_variables_and_a_wrong_login_are_reported() {
    let identity = Binaries::build().unwrap();
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(identity.of("identity"));
        command.args(arguments).env_clear();
        command.envs(variables.iter().copied()).output().unwrap()
    };
    let help = run(&["audit", "verify", "--help"], &[]);
    assert_eq!(help.status.code(), Some(0));
    let help = String::from_utf8(help.stdout).unwrap();
    for name in ["WORKER_DATABASE_URL", "WORKER_DATABASE_URL_FILE", "Exit codes"] {
        assert!(help.contains(name), "{name}: {help}");
    }
    let unset = run(&["audit", "verify"], &[]);
    assert_eq!(unset.status.code(), Some(64));
    let stderr = String::from_utf8(unset.stderr).unwrap();
    assert!(stderr.contains("\n  WORKER_DATABASE_URL: "), "{stderr}");

    let stack = Stack::shared().await.unwrap();
    // The app login cannot read the logs of all people.
    let app = stack.database.url("identity_app");
    let wrong = [
        ("ENVIRONMENT", "development"),
        ("WORKER_DATABASE_URL", app.as_str()),
    ];
    let refused = run(&["audit", "verify"], &wrong);
    assert_eq!(refused.status.code(), Some(1));
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert!(!stderr.contains(&app), "{stderr}");
    assert!(refused.stdout.is_empty());
}
