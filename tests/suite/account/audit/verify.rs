//! `identity audit verify`.

use std::{cell::Cell, process::Command};

use haven_testkit::{Person, Stack, binaries::Binaries};

use super::{as_service, make_event, person_with_events, verify};
use crate::superuser_sql::execute;

#[tokio::test]
async fn whole_chains_hold_and_their_ends_have_a_digest() {
    let stack = Stack::start().await.unwrap();
    let empty = verify(&stack);
    assert_eq!(empty.code, 0);
    assert_eq!(empty.summary, "0 chains, 0 whole events, 0 broken chains");
    let person = person_with_events(&stack).await;
    person_with_events(&stack).await;
    let before = verify(&stack);
    assert_eq!((before.code, before.broken.len()), (0, 0));
    assert_eq!(before.summary, "2 chains, 10 whole events, 0 broken chains");
    assert_eq!(verify(&stack).heads, before.heads, "nothing happened");
    make_event(&stack.user(&person).unwrap()).await;
    assert_ne!(verify(&stack).heads, before.heads);

    // Whoever may write everything can make a chain shorter so that it fits. Only the digest tells.
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
async fn the_first_broken_link_is_named() {
    let stack = Stack::start().await.unwrap();
    // Each has events 1 to 5. Of `$` and `#`, the one is the table and the other the condition of the person's rows.
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
    for (attack, found) in attacks {
        let person = person_with_events(&stack).await;
        let attack = attack
            .replace('$', "identity.security_audit_log")
            .replace('#', &format!("user_id = '{}'", person.id));
        execute(&stack.database, &attack).await;
        expected.push((person.id, found));
    }
    person_with_events(&stack).await;
    let verdict = verify(&stack);
    assert_eq!(verdict.code, 1);
    for (person, found) in &expected {
        let line = format!("{person}: {found}");
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

/// Times that two clocks may have given: also before 1970, and with microseconds.
const ANY_TIMES: &str =
    "CASE n % 7 WHEN 0 THEN '1969-12-31 23:59:59.999999+00'::timestamptz - n * interval '1 day'
    ELSE clock_timestamp() END";

/// Appends `count` events to the person's log, as a person's request does, each at the time `at`. Their services' names try
/// to look like more fields.
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
async fn a_chain_of_many_pages_is_one_chain() {
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
async fn it_holds_while_the_service_goes_on() {
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
            // The old end moves at the same time: event by event.
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
            let said = String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(0), "{said}");
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
async fn it_says_what_it_needs() {
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
    let nothing = run(&["audit", "verify"], &[]);
    assert_eq!(nothing.status.code(), Some(64));
    let said = String::from_utf8(nothing.stderr).unwrap();
    assert!(said.contains("\n  WORKER_DATABASE_URL: "), "{said}");

    let stack = Stack::start().await.unwrap();
    // A person's login cannot read everybody's log.
    let app = stack.database.url("identity_app");
    let wrong = [
        ("ENVIRONMENT", "development"),
        ("WORKER_DATABASE_URL", app.as_str()),
    ];
    let refused = run(&["audit", "verify"], &wrong);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!said.contains(&app), "{said}");
    assert!(refused.stdout.is_empty());
}
