//! CreateShare.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use haven_proto::data::v1::{AuditEventType, CreateShareRequest, ListAuditEventsRequest, ShareState};
use haven_testkit::{Stack, random};
use prost_types::Timestamp;

use super::{Sharer, open, retry_call};
use crate::{
    eventually::eventually,
    leaks::canary::{Allowed, Flock, Haystack},
    status::{reason, violations},
    superuser_sql::{execute, scalar, scalar_with},
    test_device::{Device, at},
};

#[tokio::test]
async fn a_retry_gets_the_same_token_and_another_request_another_one() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let request = ada.share_request_with_passcode("correct horse", 3);
    let first = ada.create(request.clone()).await.unwrap();
    assert_eq!(first.token.len(), 43);
    let share = first.share.clone().unwrap();
    assert_eq!(share.share_id, request.request_id);
    assert_eq!(share.state(), ShareState::Active);
    assert_eq!(share.expire_time, request.expire_time);
    assert_eq!((share.max_access_count, share.access_count), (3, 0));
    assert!(share.create_time.is_some() && share.last_access_time.is_none());

    open(stack, &first.token, "correct horse").await.unwrap();
    // The retry gets the first answer, also under concurrent retries.
    let again = join_all((0..8).map(|_| retry_call(async || ada.create(request.clone()).await))).await;
    for again in again {
        assert_eq!(again.unwrap(), first);
    }
    let other = ada.create_share(ada.share_request(3)).await;
    assert_ne!(other.token, first.token);
    let shares = "SELECT count(*) FROM data.healthcare_share WHERE user_id = $1";
    let count: i64 = scalar_with(&stack.database, shares, ada.person.id).await;
    assert_eq!(count, 2);
}

#[tokio::test]
async fn concurrent_retries_make_one_share() {
    let stack = Stack::start().await.unwrap();
    let ada = Sharer::invent(&stack).await;
    for passcode in ["", "1234"] {
        let request = ada.share_request_with_passcode(passcode, 1);
        let created = join_all((0..16).map(|_| retry_call(async || ada.create(request.clone()).await))).await;
        let created: Vec<_> = created.into_iter().map(Result::unwrap).collect();
        assert!(created.iter().all(|one| one == &created[0]));
    }
    let counts: Vec<i64> = scalar(
        &stack.database,
        "SELECT ARRAY[(SELECT count(*) FROM data.healthcare_share), (SELECT count(*) FROM data.share_token),
                      (SELECT count(*) FROM data.requests), (SELECT count(*) FROM data.envelope_nonces)]",
    )
    .await;
    assert_eq!(counts, [2; 4]);
}

#[tokio::test]
async fn a_request_id_cannot_be_reused() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let request = ada.share_request_with_passcode("1234", 1);
    ada.create(request.clone()).await.unwrap();
    let fresh = ada.share_request(1);
    for other in [
        CreateShareRequest {
            passcode: "1235".into(),
            ..request.clone()
        },
        CreateShareRequest {
            passcode: String::new(),
            ..request.clone()
        },
        CreateShareRequest {
            max_access_count: 2,
            ..request.clone()
        },
        CreateShareRequest {
            share_id: random::uuid().to_string(),
            ..request.clone()
        },
        CreateShareRequest {
            encrypted_share_data: fresh.encrypted_share_data.clone(),
            crypto_envelope: fresh.crypto_envelope.clone(),
            ..request.clone()
        },
    ] {
        let refused = ada.create(other).await.unwrap_err();
        assert_eq!(reason(&refused), "REQUEST_ID_REUSED");
    }
    ada.create(request).await.unwrap();
}

#[tokio::test]
async fn a_share_id_and_a_nonce_cannot_be_reused() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (Sharer::invent(stack).await, Sharer::invent(stack).await);
    let first = ada.share_request(1);
    ada.create(first.clone()).await.unwrap();
    let id_taken = CreateShareRequest {
        share_id: first.request_id.clone(),
        ..ada.share_request(1)
    };
    assert_eq!(
        reason(&ada.create(id_taken.clone()).await.unwrap_err()),
        "RECORD_EXISTS"
    );
    // Another request with the same content would get another token.
    let same = CreateShareRequest {
        share_id: first.request_id.clone(),
        request_id: random::uuid().to_string(),
        ..first.clone()
    };
    assert_eq!(reason(&ada.create(same).await.unwrap_err()), "RECORD_EXISTS");
    let nonce_taken = CreateShareRequest {
        crypto_envelope: first.crypto_envelope.clone(),
        ..ada.share_request(1)
    };
    let refused = ada.create(nonce_taken.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "NONCE_REUSED");
    // Another person can use the same ids and nonces.
    bob.create(id_taken).await.unwrap();
    bob.create(nonce_taken).await.unwrap();
    // A refused request stores nothing: its request id is free.
    let requests = async |of: &Sharer| {
        let sql = "SELECT count(*) FROM data.requests WHERE user_id = $1";
        scalar_with::<i64, _>(&stack.database, sql, of.person.id).await
    };
    assert_eq!(requests(&ada).await + requests(&bob).await, 3);
}

#[tokio::test]
async fn expire_time_is_bounded_and_a_retry_after_it_gets_the_first_answer() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    for (expires_in, name) in [
        (TimeDelta::zero(), "NOT_IN_THE_FUTURE"),
        (TimeDelta::days(90) + TimeDelta::minutes(6), "TOO_LATE"),
    ] {
        let request = CreateShareRequest {
            expire_time: Some(at(Utc::now() + expires_in)),
            ..ada.share_request(1)
        };
        let refused = ada.create(request).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_FIELD");
        assert_eq!(violations(&refused), [("expire_time".into(), name.into())]);
    }
    let expire_time = Utc::now() + TimeDelta::seconds(2);
    let request = CreateShareRequest {
        expire_time: Some(at(expire_time)),
        ..ada.share_request(1)
    };
    let first = ada.create(request.clone()).await.unwrap();
    eventually("the share has expired", async || Utc::now() > expire_time).await;
    assert_eq!(ada.create(request).await.unwrap(), first);
    let longest = CreateShareRequest {
        expire_time: Some(at(Utc::now() + TimeDelta::days(90))),
        ..ada.share_request(1_000)
    };
    ada.create(longest).await.unwrap();
}

#[tokio::test]
async fn an_expire_time_by_a_clock_that_is_ahead_becomes_the_latest_one() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    // Far more than the time that the call takes.
    for ahead in [TimeDelta::minutes(2), TimeDelta::minutes(4)] {
        let request = CreateShareRequest {
            expire_time: Some(at(Utc::now() + TimeDelta::days(90) + ahead)),
            ..ada.share_request(1)
        };
        let first = ada.create(request.clone()).await.unwrap();
        let share = first.share.clone().unwrap();
        let time = |time: Option<Timestamp>| {
            let time = time.unwrap();
            DateTime::from_timestamp(time.seconds, time.nanos as u32).unwrap()
        };
        assert_eq!(
            time(share.expire_time),
            time(share.create_time) + TimeDelta::days(90),
            "the answer shows the stored time"
        );
        assert_eq!(ada.create(request).await.unwrap(), first);
        assert_eq!(ada.share(&share.share_id).await.expire_time, share.expire_time);
    }
}

#[tokio::test]
async fn every_violation_is_reported_at_once() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let valid = ada.share_request(1);
    let mut envelope = valid.crypto_envelope.clone().unwrap();
    envelope.nonce.pop();
    let request = CreateShareRequest {
        encrypted_share_data: vec![0xff; 262_145],
        crypto_envelope: Some(envelope),
        expire_time: Some(Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        }),
        max_access_count: 0,
        passcode: "x".repeat(129),
        share_id: "x".into(),
        request_id: String::new(),
    };
    let refused = ada.create(request).await.unwrap_err();
    assert_eq!(reason(&refused), "ENVELOPE_INVALID");
    let mut fields: Vec<_> = violations(&refused).into_iter().map(|(field, _)| field).collect();
    fields.sort_unstable();
    let expected = [
        "crypto_envelope.nonce",
        "encrypted_share_data",
        "expire_time",
        "max_access_count",
        "passcode",
        "request_id",
        "share_id",
    ];
    assert_eq!(fields, expected);
    let largest = CreateShareRequest {
        encrypted_share_data: vec![0xff; 262_144],
        ..valid
    };
    ada.create(largest).await.unwrap();
}

#[tokio::test]
async fn an_unknown_or_erased_person_is_refused() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let delete = format!("DELETE FROM data.users WHERE id = '{}'", ada.person.id);
    execute(&stack.database, &delete).await;
    let refused = ada.create(ada.share_request(1)).await.unwrap_err();
    assert_eq!(reason(&refused), "ACCOUNT_NOT_READY");
    let tombstone = format!(
        "INSERT INTO data.tombstones (user_id, erased_at, erased) VALUES ('{}', now(), '{{}}')",
        ada.person.id
    );
    execute(&stack.database, &tombstone).await;
    let refused = ada
        .create(ada.share_request_with_passcode("1234", 1))
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "ACCOUNT_ERASED");
}

/// A token and a passcode are in no table and no log, in any encoding.
#[tokio::test]
async fn tokens_and_passcodes_are_not_stored_or_logged() {
    let stack = Stack::start().await.unwrap();
    let ada = Sharer::invent(&stack).await;
    let [passcode, wrong] = [(); 2].map(|()| format!("passcode-{}", random::uuid().simple()));
    let created = ada
        .create_share(ada.share_request_with_passcode(&passcode, 2))
        .await;
    open(&stack, &created.token, &passcode).await.unwrap();
    open(&stack, &created.token, &wrong).await.unwrap_err();
    let tables: String = scalar(
        &stack.database,
        "SELECT string_agg(query_to_xml(format('SELECT t::text FROM data.%I AS t', tablename), true, false, '')::text, '')
         FROM pg_tables WHERE schemaname = 'data'",
    )
    .await;
    assert!(tables.contains(&created.id), "the dump contains the share");
    let log = stack.data.output().unwrap();
    assert!(log.contains("OpenShare"), "the log contains the call");
    let bytes = URL_SAFE_NO_PAD.decode(&created.token).unwrap();
    let bytes: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let flock = Flock::default();
    for (what, text) in [
        ("the token", &created.token),
        ("the token's bytes", &bytes),
        ("the passcode", &passcode),
        ("the wrong passcode", &wrong),
    ] {
        let canary = flock.given(what, Allowed::Nowhere, text);
        for haystack in [&tables, &log] {
            let found = canary.found(&Haystack::new(haystack.clone()));
            assert!(found.is_none(), "{what}: {found:?}");
        }
    }
}

#[tokio::test]
async fn the_key_of_a_device_is_refused() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let device = Device::first_of(stack, ada.person.clone()).await.unwrap();
    let mut request = ada.share_request(1);
    request.crypto_envelope.as_mut().unwrap().key_id = device.id.to_string();
    let status = ada.create(request).await.unwrap_err();
    assert_eq!(reason(&status), "ENVELOPE_INVALID");
    let expected = [("crypto_envelope.key_id".to_owned(), "KEY_OF_A_DEVICE".to_owned())];
    assert_eq!(violations(&status), expected);
}

#[tokio::test]
async fn creating_and_revoking_a_share_are_audited_once() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let request = ada.share_request(1);
    let created = ada.create_share(request.clone()).await;
    ada.create(request).await.unwrap();
    ada.revoke(&created.id).await.unwrap();
    ada.revoke(&created.id).await.unwrap();
    let mut person = ada.client.person();
    let events = person
        .list_audit_events(ListAuditEventsRequest::default())
        .await
        .unwrap();
    let events: Vec<_> = events
        .into_inner()
        .events
        .into_iter()
        .map(|event| (event.event_type(), event.subject_id))
        .collect();
    let expected = [AuditEventType::ShareRevoked, AuditEventType::ShareCreated];
    assert_eq!(events, expected.map(|event| (event, created.id.clone())));
}
