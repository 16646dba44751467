//! OpenShare, and every reason for which it refuses.

use chrono::{TimeDelta, Utc};
use haven_proto::data::v1::{
    DeviceType, OpenShareRequest, ShareAccess, ShareAccessOutcome as Outcome, ShareState,
};
use haven_testkit::Stack;
use tonic::Status;

use super::{CONTENT, CreatedShare, Sharer, open, open_from, unknown_token};
use crate::{
    status::{reason, violations},
    superuser_sql::execute,
    test_device::at,
};

/// Returns all that a refusal shows except for its request id: refusals must not differ in it.
pub(super) fn refusal(status: &Status) -> (tonic::Code, String, usize) {
    assert_eq!(reason(status), "SHARE_UNAVAILABLE");
    let details = tonic_types::StatusExt::get_error_details(status);
    assert!(details.error_info().unwrap().metadata.is_empty());
    assert!(details.retry_info().is_none() && details.bad_request().is_none());
    (status.code(), status.message().to_owned(), status.details().len())
}

/// Moves the times of a share in the database, as if it had been created earlier.
async fn set_remaining_time(stack: &Stack, created: &CreatedShare, remaining: &str) {
    let sql = format!(
        "UPDATE data.healthcare_share SET created_at = now() - interval '1 day', expires_at = now() + interval '{remaining}'
         WHERE id = '{}'",
        created.id
    );
    execute(&stack.database, &sql).await;
}

#[tokio::test]
async fn a_token_opens_a_share_as_often_as_it_may_be_accessed() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let request = ada.share_request(2);
    let created = ada.create_share(request.clone()).await;
    let anonymous = stack.anonymous().unwrap();
    let before = Utc::now() - TimeDelta::seconds(1);
    for device_type in [DeviceType::Mobile, DeviceType::Desktop] {
        let opened = open_from(&anonymous, &created.token, "", device_type)
            .await
            .unwrap();
        assert_eq!(ada.read(&opened), CONTENT);
        assert_eq!(opened.crypto_envelope, request.crypto_envelope);
        assert_eq!(opened.expire_time, request.expire_time);
        assert!(opened.create_time.is_some());
    }
    let refused = open_from(&anonymous, &created.token, "", DeviceType::Unspecified).await;
    refusal(&refused.unwrap_err());
    let share = ada.share(&created.id).await;
    assert_eq!(share.state(), ShareState::UsedUp);
    assert_eq!((share.access_count, share.refusal_count), (2, 1));
    let accesses = ada.accesses(&created.id).await;
    let attempts: Vec<_> = accesses
        .iter()
        .map(|access| (access.device_type(), access.outcome()))
        .collect();
    let expected = [
        (DeviceType::Unknown, Outcome::UsedUp),
        (DeviceType::Desktop, Outcome::Opened),
        (DeviceType::Mobile, Outcome::Opened),
    ];
    assert_eq!(attempts, expected);
    assert_eq!(share.last_access_time, accesses[1].access_time);
    let since = at(before);
    let since = |access: &ShareAccess| access.access_time.unwrap().seconds >= since.seconds;
    assert!(accesses.iter().all(since));
    assert!(accesses.iter().all(|access| access.share_id == created.id));
}

#[tokio::test]
async fn only_the_owner_learns_the_reason_of_a_refusal() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let open = async |token: &str, passcode: &str| open(stack, token, passcode).await;
    let refused = async |token: &str, passcode: &str| refusal(&open(token, passcode).await.unwrap_err());
    let unknown = refused(&unknown_token(), "").await;
    assert_eq!(refused(&unknown_token(), "1234").await, unknown);

    let expired = ada.create_share(ada.share_request(1)).await;
    set_remaining_time(stack, &expired, "-1 second").await;
    let revoked = ada.create_share(ada.share_request(1)).await;
    ada.revoke(&revoked.id).await.unwrap();
    let used_up = ada.create_share(ada.share_request(1)).await;
    open(&used_up.token, "").await.unwrap();
    for (created, state, outcome) in [
        (&expired, ShareState::Expired, Outcome::Expired),
        (&used_up, ShareState::UsedUp, Outcome::UsedUp),
    ] {
        assert_eq!(refused(&created.token, "").await, unknown, "{outcome:?}");
        // The share has no passcode, so a passcode makes no difference.
        assert_eq!(refused(&created.token, "1234").await, unknown, "{outcome:?}");
        assert_eq!(ada.share(&created.id).await.state(), state);
        assert_eq!(ada.outcomes(&created.id).await[..2], [outcome; 2]);
    }
    // The token of a revoked share is gone, so an attempt to open the share is one with an unknown token.
    assert_eq!(refused(&revoked.token, "").await, unknown);
    assert_eq!(refused(&revoked.token, "1234").await, unknown);
    assert_eq!(ada.share(&revoked.id).await.state(), ShareState::Revoked);
    assert!(ada.outcomes(&revoked.id).await.is_empty());

    let locked = ada.create_share(ada.share_request_with_passcode("1234", 9)).await;
    assert_eq!(refused(&locked.token, "").await, unknown);
    open(&locked.token, "1234").await.unwrap();
    for _ in 0..5 {
        assert_eq!(ada.share(&locked.id).await.state(), ShareState::Active);
        assert_eq!(refused(&locked.token, "1235").await, unknown);
    }
    // The right passcode is refused as well from now on.
    assert_eq!(refused(&locked.token, "1234").await, unknown);
    assert_eq!(refused(&locked.token, "").await, unknown);
    let share = ada.share(&locked.id).await;
    assert_eq!(share.state(), ShareState::Locked);
    assert_eq!(
        (
            share.wrong_passcode_count,
            share.access_count,
            share.refusal_count
        ),
        (5, 1, 8)
    );
    let mut expected = vec![Outcome::PasscodeWrong; 9];
    expected[0] = Outcome::Locked;
    expected[1] = Outcome::Locked;
    expected[7] = Outcome::Opened;
    expected[8] = Outcome::PasscodeMissing;
    assert_eq!(ada.outcomes(&locked.id).await, expected);
}

#[tokio::test]
async fn a_passcode_must_match_exactly() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    for passcode in ["1234", " é🎉 ", &"x".repeat(128)] {
        let created = ada
            .create_share(ada.share_request_with_passcode(passcode, 2))
            .await;
        let opened = open(stack, &created.token, passcode).await.unwrap();
        assert_eq!(ada.read(&opened), CONTENT);
        let other = format!("{}1", &passcode[..passcode.len() - 1]);
        refusal(&open(stack, &created.token, &other).await.unwrap_err());
        assert_eq!(ada.share(&created.id).await.wrong_passcode_count, 1);
    }
    // A share without a passcode opens with any.
    let created = ada.create_share(ada.share_request(1)).await;
    open(stack, &created.token, "1234").await.unwrap();
}

/// The SQL function is called with the exact time, which no clock could show.
#[tokio::test]
async fn a_share_expires_exactly_at_its_expire_time() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let created = ada.create_share(ada.share_request(9)).await;
    let mut database = stack.database.connect("postgres").await.unwrap();
    let mut opens = async |offset: &str| {
        sqlx::query_scalar::<_, i64>(
            "SELECT count(*) FROM data.share_token AS t JOIN data.healthcare_share AS s ON s.id = t.share_id,
                 data.validate_share_token(t.token_hash, NULL, 'unknown', s.expires_at + $1::interval)
             WHERE s.id = $2::uuid",
        )
        .bind(offset)
        .bind(&created.id)
        .fetch_one(&mut database)
        .await
        .unwrap()
    };
    for (offset, expected) in [("-1 microsecond", 1), ("0", 0), ("1 microsecond", 0)] {
        assert_eq!(opens(offset).await, expected, "{offset}");
    }
    // Over gRPC the share opens until it expires.
    set_remaining_time(stack, &created, "1 hour").await;
    open(stack, &created.token, "").await.unwrap();
    set_remaining_time(stack, &created, "0 seconds").await;
    refusal(&open(stack, &created.token, "").await.unwrap_err());
    assert_eq!(ada.share(&created.id).await.state(), ShareState::Expired);
}

#[tokio::test]
async fn a_share_of_a_deleted_person_is_unavailable() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let created = ada.create_share(ada.share_request(2)).await;
    open(stack, &created.token, "").await.unwrap();
    let delete = format!("DELETE FROM data.users WHERE id = '{}'", ada.person.id);
    execute(&stack.database, &delete).await;
    refusal(&open(stack, &created.token, "").await.unwrap_err());
}

#[tokio::test]
async fn an_invalid_request_is_refused_with_its_violation() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let created = ada.create_share(ada.share_request_with_passcode("1234", 1)).await;
    let anonymous = stack.anonymous().unwrap();
    let valid = OpenShareRequest {
        token: created.token.clone(),
        passcode: "1234".into(),
        device_type: DeviceType::Desktop.into(),
    };
    for (request, field, name) in [
        (
            OpenShareRequest {
                token: format!("{}=", created.token),
                ..valid.clone()
            },
            "token",
            "NOT_A_TOKEN",
        ),
        (
            OpenShareRequest {
                passcode: "123".into(),
                ..valid.clone()
            },
            "passcode",
            "PASSCODE_TOO_SHORT",
        ),
        (
            OpenShareRequest {
                passcode: "x".repeat(129),
                ..valid.clone()
            },
            "passcode",
            "PASSCODE_TOO_LONG",
        ),
        (
            OpenShareRequest {
                device_type: 4,
                ..valid.clone()
            },
            "device_type",
            "UNKNOWN_VALUE",
        ),
    ] {
        let refused = anonymous.share().open_share(request).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_FIELD");
        assert_eq!(violations(&refused), [(field.into(), name.into())]);
    }
    // Invalid requests do not count as attempts.
    assert!(ada.outcomes(&created.id).await.is_empty());
    anonymous.share().open_share(valid).await.unwrap();
}
