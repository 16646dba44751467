//! UpdateAccount by a person: it changes their goals, once for each request, and only at the expected version.

use futures_util::future::join_all;
use haven_proto::identity::v1::{Account, Goal, UpdateAccountRequest};
use haven_testkit::{Client, Stack};

use super::{get, update, update_of};
use crate::{
    status::{metadata, reason, violations},
    superuser_sql::scalar_with,
};

/// Returns an update of the goals, under a new request id.
fn goals(goals: &[Goal], expected_version: i64) -> UpdateAccountRequest {
    let account = Account {
        goals: goals.iter().map(|goal| i32::from(*goal)).collect(),
        ..Account::default()
    };
    update_of(account, &["goals"], expected_version)
}

/// Returns the reason for which the update fails.
async fn refused(client: &Client, request: UpdateAccountRequest) -> String {
    reason(&update(client, request).await.unwrap_err())
}

#[tokio::test]
async fn a_person_sets_their_goals() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let before = get(&client, "").await.unwrap();
    let new_goals = [
        Goal::RoommateRelations,
        Goal::MakeFriends,
        Goal::RoommateRelations,
    ];
    let changed = update(&client, goals(&new_goals, 1)).await.unwrap();
    let expected = Account {
        goals: vec![Goal::MakeFriends.into(), Goal::RoommateRelations.into()],
        version: 2,
        update_time: changed.update_time,
        ..before.clone()
    };
    assert_eq!(changed, expected);
    let later = |account: &Account| account.update_time.map(|time| (time.seconds, time.nanos));
    assert!(later(&changed) > later(&before));
    assert_eq!(get(&client, "").await.unwrap(), changed);
}

#[tokio::test]
async fn an_update_needs_a_mask_of_mutable_fields_and_the_current_version() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let client = stack.user(&ada).unwrap();
    let good = goals(&[Goal::MakeFriends], 1);
    let account = good.account.clone().unwrap();

    let status = update(&client, UpdateAccountRequest::default())
        .await
        .unwrap_err();
    let fields: Vec<_> = violations(&status).into_iter().map(|(field, _)| field).collect();
    assert_eq!(
        fields,
        ["request_id", "update_mask", "account", "expected_version"]
    );
    let unmasked = UpdateAccountRequest {
        update_mask: None,
        ..good.clone()
    };
    let status = update(&client, unmasked).await.unwrap_err();
    assert_eq!(
        violations(&status),
        [("update_mask".to_owned(), "REQUIRED".to_owned())]
    );
    let status = update(&client, update_of(account.clone(), &["goals", "email", "x"], 1))
        .await
        .unwrap_err();
    let expected = [
        ("update_mask.paths[1]", "IMMUTABLE"),
        ("update_mask.paths[2]", "UNKNOWN_FIELD"),
    ];
    assert_eq!(
        violations(&status),
        expected.map(|(field, name)| (field.to_owned(), name.to_owned()))
    );
    for paths in [["stage"].as_slice(), &["graduated"], &["goals", "stage"]] {
        assert_eq!(
            refused(&client, update_of(account.clone(), paths, 1)).await,
            "ACCESS_DENIED"
        );
    }
    let of_bob = Account {
        id: bob.id.to_string(),
        ..account.clone()
    };
    assert_eq!(
        refused(&client, update_of(of_bob, &["goals"], 1)).await,
        "NOT_FOUND"
    );
    let status = update(&client, goals(&[Goal::MakeFriends], 7)).await.unwrap_err();
    assert_eq!(
        (
            reason(&status).as_str(),
            metadata(&status, "current_version").as_str()
        ),
        ("VERSION_CONFLICT", "1")
    );
    // Fields outside the mask are ignored.
    let with_other_fields = Account {
        email: "other@example.org".into(),
        stage: 99,
        graduated: true,
        ..account
    };
    let changed = update(&client, update_of(with_other_fields, &["goals", "goals"], 1))
        .await
        .unwrap();
    assert_eq!(
        (changed.email, changed.stage, changed.graduated),
        (ada.email, 1, false)
    );
    let bobs = get(&stack.user(&bob).unwrap(), "").await.unwrap();
    assert_eq!(
        (bobs.version, bobs.goals),
        (1, vec![Goal::BuildConfidence.into()])
    );
}

#[tokio::test]
async fn one_of_several_concurrent_updates_of_one_version_succeeds() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    for version in 1..=3 {
        let all = [
            Goal::BuildConfidence,
            Goal::MakeFriends,
            Goal::ImproveConversations,
            Goal::DatingSkills,
        ];
        let attempts = (0..20).map(|i| update(&client, goals(&all[i % 4..=i % 4], version)));
        let outcomes = join_all(attempts).await;
        let (made, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        let [Ok(made)] = made.as_slice() else {
            panic!("not one of {made:?}")
        };
        assert_eq!(made.version, version + 1);
        for status in lost.into_iter().map(Result::unwrap_err) {
            assert_eq!(reason(&status), "VERSION_CONFLICT");
            assert_eq!(metadata(&status, "current_version"), (version + 1).to_string());
        }
        assert_eq!(get(&client, "").await.unwrap(), *made);
    }
}

#[tokio::test]
async fn a_retried_update_takes_effect_once_and_gets_the_first_response() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let request = goals(&[Goal::JoinActivities], 1);
    let answers = join_all((0..20).map(|_| update(&client, request.clone()))).await;
    let first = answers[0].as_ref().unwrap();
    assert_eq!(
        (first.version, first.goals.as_slice()),
        (2, &[Goal::JoinActivities.into()][..])
    );
    for answer in &answers {
        assert_eq!(answer.as_ref().unwrap(), first);
    }
    // The response is the account right after the change, also when it has changed since.
    let second = update(&client, goals(&[Goal::DatingSkills], 2)).await.unwrap();
    assert_eq!(second.version, 3);
    assert_eq!(&update(&client, request.clone()).await.unwrap(), first);

    let other_content = UpdateAccountRequest {
        expected_version: 3,
        ..request.clone()
    };
    assert_eq!(refused(&client, other_content).await, "REQUEST_ID_REUSED");
    let rows: i64 = scalar_with(
        &stack.database,
        "SELECT count(*) FROM identity.requests WHERE user_id = $1 AND method = 'UpdateAccount'",
        ada.id,
    )
    .await;
    assert_eq!(rows, 2);
    // Request ids belong to a person: Bob may use the same id.
    let bob = stack.person().await.unwrap();
    let bobs = update(&stack.user(&bob).unwrap(), request).await.unwrap();
    assert_eq!((bobs.id, bobs.version), (bob.id.to_string(), 2));
}
