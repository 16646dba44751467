//! People in data without an account and a receipt: they are locked, and erased only when an operator says so.

use haven_proto::data::v1::ProvisionUserRequest;
use haven_testkit::{Stack, random};
use uuid::Uuid;

use super::{command, messages, person_with_message, reconcile, reconciled, state};
use crate::superuser_sql::execute;

/// Makes `count` people known to data who have no account, since an hour.
async fn orphans(stack: &Stack, count: usize) -> Vec<Uuid> {
    let mut people: Vec<Uuid> = (0..count).map(|_| random::uuid()).collect();
    people.sort_unstable();
    for person in &people {
        let sql = format!(
            "INSERT INTO data.users (id, created_at) VALUES ('{person}', now() - interval '1 hour');
             INSERT INTO data.conversation_counters (user_id, last_number) VALUES ('{person}', 1);
             INSERT INTO data.conversations
                 (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
                 VALUES ('{person}', gen_random_uuid(), 1, 'user', 'gAAAA', 'test-1', now(), now())"
        );
        execute(&stack.database, &sql).await;
    }
    people
}

#[tokio::test]
async fn more_orphans_than_a_share_are_locked_only_with_a_flag() {
    let stack = Stack::start().await.unwrap();
    let kept = person_with_message(&stack).await;
    let people = orphans(&stack, 11).await;
    for arguments in [&[][..], &["--apply"], &["--apply", "--erase-orphans"]] {
        let refused = reconcile(&stack, arguments).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(
            refused.stderr.contains("11 of 12 people in data") && refused.stderr.contains("--max-orphans"),
            "{refused:?}"
        );
        for person in &people {
            assert_eq!(state(&stack, *person).await, "person");
        }
    }
    let locked = reconciled(&stack, &["--apply", "--max-orphans", "95"]).await;
    assert_eq!(locked.people("lock"), people);
    assert_eq!(locked.count("locked"), 11);
    for person in &people {
        assert_eq!(
            (state(&stack, *person).await, messages(&stack, *person).await),
            ("locked".into(), 1)
        );
    }
    assert_eq!(state(&stack, kept.id).await, "account person");
}

/// An identity without any account is empty, or the wrong one.
#[tokio::test]
async fn an_empty_identity_locks_no_person() {
    let stack = Stack::start().await.unwrap();
    let people = [
        person_with_message(&stack).await.id,
        person_with_message(&stack).await.id,
    ];
    execute(
        &stack.database,
        "TRUNCATE identity.users, identity.outbox, identity.audit_chains, identity.security_audit_log CASCADE",
    )
    .await;
    for arguments in [
        &["--apply"][..],
        &["--apply", "--erase-orphans"],
        &["--apply", "--max-orphans", "99"],
    ] {
        let refused = reconcile(&stack, arguments).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        for person in people {
            assert_eq!(state(&stack, person).await, "person");
        }
    }
}

#[tokio::test]
async fn an_orphan_is_erased_only_by_a_later_run_with_the_flag() {
    let stack = Stack::start().await.unwrap();
    let kept = person_with_message(&stack).await;
    let [orphan] = orphans(&stack, 1).await[..] else {
        unreachable!()
    };
    // The run that locks a person does not erase them.
    let locked = reconciled(&stack, &["--apply", "--erase-orphans"]).await;
    assert_eq!(
        (locked.people("lock"), locked.people("erase")),
        (vec![orphan], vec![])
    );
    reconciled(&stack, &["--apply"]).await;
    let listed = reconciled(&stack, &[]).await;
    assert_eq!(listed.people("locked"), [orphan]);
    assert_eq!(messages(&stack, orphan).await, 1);
    // Within the grace time neither: the lock may be minutes old, and the account on its way.
    let graced = reconciled(&stack, &["--apply", "--erase-orphans", "--grace", "3600"]).await;
    assert!(graced.people("erase").is_empty(), "{graced:?}");
    let erased = reconciled(&stack, &["--apply", "--erase-orphans"]).await;
    assert_eq!(erased.people("erase"), [orphan]);
    assert_eq!(state(&stack, orphan).await, "receipt tombstone");
    assert_eq!(messages(&stack, orphan).await, 0);
    assert_eq!(state(&stack, kept.id).await, "account person");
    let agreed = reconciled(&stack, &[]).await;
    assert_eq!(agreed.count("agree"), 2);
}

#[tokio::test]
async fn a_person_who_was_just_provisioned_is_not_judged() {
    let stack = Stack::start().await.unwrap();
    person_with_message(&stack).await;
    let new = random::uuid();
    let request = ProvisionUserRequest {
        user_id: new.to_string(),
        request_id: random::uuid().to_string(),
    };
    let identity = stack.service("identity").unwrap();
    identity.person().provision_user(request).await.unwrap();
    let output = command(&stack, &["--apply", "--grace", "60"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(state(&stack, new).await, "person");
    let judged = reconciled(&stack, &["--apply"]).await;
    assert_eq!(judged.people("lock"), [new]);
}
