//! CreateShare with concurrent changes of the person, and with clocks that differ.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::{join, join_all};
use haven_data::{
    domain::encrypted::{
        envelope::{Algorithm, Encrypted, Envelope, KeyDerivation},
        share::NewShare,
    },
    store::encrypted::share::{CreateShareError, ShareTimes, Shares},
};
use haven_platform::{
    call::UserId,
    database::{Database, DatabaseConfig, Pooler},
    deadline::Deadline,
    mac::{KeyId, StoredMac},
    request_key::RequestKey,
};
use haven_proto::data::v1::{EraseUserRequest, RegisterDeviceRequest};
use haven_testkit::{Stack, encryption::Secret, random};
use tokio::time::sleep;

use super::Sharer;
use crate::{
    retry::retry_call,
    status::{reason, violations},
    superuser_sql::scalar,
    test_device::registration,
};

#[tokio::test]
async fn a_retry_succeeds_after_a_device_was_registered_with_the_key_id() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let request = ada.share_request_with_passcode("1234", 1);
    let first = ada.create(request.clone()).await.unwrap();
    let device = RegisterDeviceRequest {
        device_id: request.crypto_envelope.as_ref().unwrap().key_id.clone(),
        ..registration(&Secret::generate()).unwrap()
    };
    ada.client.device().register_device(device).await.unwrap();
    assert_eq!(ada.create(request.clone()).await.unwrap(), first);
    let mut another = ada.share_request(1);
    another.crypto_envelope.as_mut().unwrap().key_id = request.crypto_envelope.unwrap().key_id;
    let refused = ada.create(another).await.unwrap_err();
    let expected = [("crypto_envelope.key_id".to_owned(), "KEY_OF_A_DEVICE".to_owned())];
    assert_eq!(violations(&refused), expected);
}

#[tokio::test]
async fn creations_concurrent_with_an_erasure_are_refused() {
    let stack = Stack::start().await.unwrap();
    for _ in 0..8 {
        let ada = Sharer::invent(&stack).await;
        // Each request twice, so that some are retried while the person is erased.
        let requests: Vec<_> = (0..12).map(|_| ada.share_request(1)).collect();
        let making = join_all((0..24).map(async |number: u64| {
            sleep(Duration::from_millis(number)).await;
            ada.create(requests[number as usize / 2].clone()).await
        }));
        let erase = EraseUserRequest {
            user_id: ada.person.id.to_string(),
            request_id: random::uuid().to_string(),
        };
        let mut people = stack.service("identity").unwrap().person();
        let erasing = retry_call(erase, async |request| people.erase_user(request).await);
        let (created, erased) = join(making, erasing).await;
        erased.unwrap();
        for refused in created.into_iter().filter_map(Result::err) {
            let reason = reason(&refused);
            let expected = ["ACCOUNT_ERASED", "DEPENDENCY_UNAVAILABLE"];
            assert!(expected.contains(&reason.as_str()), "{refused:?}");
        }
        let refused = ada.create(ada.share_request(1)).await.unwrap_err();
        assert_eq!(reason(&refused), "ACCOUNT_ERASED");
    }
    let left: i64 = scalar(
        &stack.database,
        "SELECT (SELECT count(*) FROM data.healthcare_share) + (SELECT count(*) FROM data.share_token)
             + (SELECT count(*) FROM data.envelope_nonces) + (SELECT count(*) FROM data.requests)",
    )
    .await;
    assert_eq!(left, 0);
}

/// Returns the share store of the stack's data service.
fn shares(stack: &Stack) -> Shares {
    let url = |name: &str| stack.data.variables[name].as_str().into();
    let config = DatabaseConfig {
        schema: "data",
        app_url: url("DATABASE_URL"),
        worker_url: url("WORKER_DATABASE_URL"),
        app_connections: 1,
        worker_connections: 1,
        pooler: Pooler::Session,
    };
    Shares::new(Arc::new(Database::new(&config).unwrap()))
}

/// Creates a share for 90 days at the time `now` of the caller's clock.
async fn create_at(
    shares: &Shares,
    caller: UserId,
    request: RequestKey,
    now: DateTime<Utc>,
) -> Result<ShareTimes, CreateShareError> {
    let (a, b) = (random::uuid(), random::uuid());
    let share = NewShare {
        id: request.id,
        content: Encrypted {
            payload: vec![0xff; 32],
            envelope: Envelope {
                algorithm: Algorithm::XChaCha20Poly1305,
                key_id: random::uuid(),
                key_version: 1,
                nonce: [a.as_bytes().as_slice(), &b.as_bytes()[..8]].concat(),
                salt: vec![7; 16],
                key_derivation: KeyDerivation {
                    memory_kib: 19_456,
                    iterations: 2,
                    parallelism: 1,
                },
            },
        },
        token_hash: StoredMac::new(
            [a.into_bytes(), b.into_bytes()].concat().try_into().unwrap(),
            KeyId::FIRST,
        ),
        passcode_hash: None,
        expires_at: Some(now + TimeDelta::days(90)),
        max_access_count: 1,
        created_at: now,
    };
    let deadline = Deadline::after(Duration::from_secs(30));
    shares.create(caller, &share, request, deadline).await
}

#[tokio::test]
async fn a_clock_that_is_ahead_creates_a_share_at_the_databases_time() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let (shares, caller) = (shares(stack), UserId::new(ada.person.id));
    let begin: DateTime<Utc> = scalar(&stack.database, "SELECT now()").await;
    for ahead in [TimeDelta::seconds(30), TimeDelta::minutes(10)] {
        let request = RequestKey {
            id: random::uuid(),
            payload_macs: StoredMac::new([1; 32], KeyId::FIRST).into(),
        };
        let created = create_at(&shares, caller, request, begin + ahead).await.unwrap();
        let end: DateTime<Utc> = scalar(&stack.database, "SELECT now()").await;
        assert!(
            begin <= created.created_at && created.created_at <= end,
            "{created:?}"
        );
        assert_eq!(created.expires_at, created.created_at + TimeDelta::days(90));
        let seen = ada.share(&request.id.to_string()).await;
        assert_eq!(seen.create_time, Some(crate::test_device::at(created.created_at)));
        assert_eq!(seen.expire_time, Some(crate::test_device::at(created.expires_at)));
        // A retry gets the same times, with any clock.
        let again = create_at(&shares, caller, request, begin).await.unwrap();
        assert_eq!(again, created);
    }
    // A clock that is behind is used as it is.
    let request = RequestKey {
        id: random::uuid(),
        payload_macs: StoredMac::new([1; 32], KeyId::FIRST).into(),
    };
    let now = begin - TimeDelta::minutes(10);
    let created = create_at(&shares, caller, request, now).await.unwrap();
    assert_eq!(
        (created.created_at, created.expires_at),
        (now, now + TimeDelta::days(90))
    );
}
