//! UpdateAccount by a service: it moves a person one stage at a time, and then graduates them.

use futures_util::future::join_all;
use haven_proto::identity::v1::{Account, UpdateAccountRequest};
use haven_testkit::{Client, Stack, random};
use uuid::Uuid;

use super::{get, update, update_of};
use crate::{
    status::{metadata, reason, violations},
    superuser_sql::scalar_with,
};

/// Returns an update of the stage, under a new request id.
fn stage(person: Uuid, stage: i32, expected_version: i64) -> UpdateAccountRequest {
    let account = Account {
        id: person.to_string(),
        stage,
        ..Account::default()
    };
    update_of(account, &["stage"], expected_version)
}

/// Returns an update that graduates the person, under a new request id.
fn graduation(person: Uuid, expected_version: i64) -> UpdateAccountRequest {
    let account = Account {
        id: person.to_string(),
        graduated: true,
        ..Account::default()
    };
    update_of(account, &["graduated"], expected_version)
}

/// Returns the field and the reason of the only violation in `request`.
async fn violation(client: &Client, request: UpdateAccountRequest) -> (String, String) {
    let status = update(client, request).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    let [one] = violations(&status).try_into().unwrap();
    one
}

#[tokio::test]
async fn a_service_moves_a_person_on_one_stage_at_a_time() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let backend = stack.service("backend").unwrap();
    let not_next = ("account.stage".to_owned(), "STAGE_NOT_NEXT".to_owned());
    let no_graduation = |name: &str| ("account.graduated".to_owned(), name.to_owned());
    for version in 1..=3_i32 {
        let next = version + 1;
        for wrong in (-1..=5).filter(|stage| *stage != next || next > 3) {
            assert_eq!(
                violation(&backend, stage(ada.id, wrong, version.into())).await,
                not_next,
                "{wrong}"
            );
        }
        if next > 3 {
            break;
        }
        let early = violation(&backend, graduation(ada.id, version.into())).await;
        assert_eq!(early, no_graduation("NOT_AT_LAST_STAGE"));
        let moved = update(&backend, stage(ada.id, next, version.into()))
            .await
            .unwrap();
        assert_eq!(
            (moved.stage, moved.version, moved.graduated),
            (next, next.into(), false)
        );
        assert_eq!(moved.email, ada.email);
    }
    let graduated = update(&backend, graduation(ada.id, 3)).await.unwrap();
    assert_eq!((graduated.stage, graduated.graduated), (3, true));
    assert_eq!(graduated.graduate_time, graduated.update_time);
    let again = violation(&backend, graduation(ada.id, 4)).await;
    assert_eq!(again, no_graduation("GRADUATED_ALREADY"));
    assert_eq!(violation(&backend, stage(ada.id, 3, 4)).await, not_next);
    assert_eq!(get(&stack.user(&ada).unwrap(), "").await.unwrap(), graduated);

    let logged: String = scalar_with(
        &stack.database,
        "SELECT string_agg(event || ' ' || service, ', ' ORDER BY number) FROM identity.security_audit_log
        WHERE user_id = $1 AND event = 'stage'",
        ada.id,
    )
    .await;
    assert_eq!(logged, "stage backend, stage backend, stage backend");
}

#[tokio::test]
async fn invalid_updates_by_a_service_are_refused() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let backend = stack.service("backend").unwrap();
    let good = stage(ada.id, 2, 1);
    let account = good.account.clone().unwrap();
    for paths in [["goals"].as_slice(), &["goals", "stage"]] {
        let status = update(&backend, update_of(account.clone(), paths, 1))
            .await
            .unwrap_err();
        assert_eq!(reason(&status), "ACCESS_DENIED");
    }
    // A service that sends a person's token acts as that person.
    let for_ada = backend.with_token(&ada.token).unwrap();
    let status = update(&for_ada, good.clone()).await.unwrap_err();
    assert_eq!(reason(&status), "ACCESS_DENIED");
    let unnamed = Account {
        id: String::new(),
        ..account.clone()
    };
    let required = violation(&backend, update_of(unnamed, &["stage"], 1)).await;
    assert_eq!(required, ("account.id".to_owned(), "REQUIRED".to_owned()));
    let both = violation(&backend, update_of(account.clone(), &["stage", "graduated"], 1)).await;
    assert_eq!(both, ("update_mask".to_owned(), "TWO_STEPS".to_owned()));
    let back = violation(&backend, update_of(account, &["graduated"], 1)).await;
    assert_eq!(back, ("account.graduated".to_owned(), "NOT_TRUE".to_owned()));
    let status = update(&backend, stage(random::uuid(), 2, 1)).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    let status = update(&backend, stage(ada.id, 2, 2)).await.unwrap_err();
    assert_eq!(
        (
            reason(&status).as_str(),
            metadata(&status, "current_version").as_str()
        ),
        ("VERSION_CONFLICT", "1")
    );
    assert_eq!(get(&backend, &ada.id.to_string()).await.unwrap().version, 1);
}

#[tokio::test]
async fn concurrent_updates_move_a_person_one_stage() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let backend = stack.service("backend").unwrap();
    let request = stage(ada.id, 2, 1);
    let answers = join_all((0..20).map(|_| update(&backend, request.clone()))).await;
    let first = answers[0].as_ref().unwrap();
    for answer in &answers {
        assert_eq!(answer.as_ref().unwrap(), first);
    }
    // Exactly one of twenty other requests succeeds.
    let others = join_all((0..20).map(|_| update(&backend, stage(ada.id, 3, 2)))).await;
    assert_eq!(others.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for status in others.into_iter().filter_map(Result::err) {
        assert_eq!(reason(&status), "VERSION_CONFLICT");
    }
    assert_eq!(&update(&backend, request.clone()).await.unwrap(), first);
    let other_content = UpdateAccountRequest {
        request_id: request.request_id,
        ..graduation(ada.id, 3)
    };
    let status = update(&backend, other_content).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    let logged: i64 = scalar_with(
        &stack.database,
        "SELECT count(*) FROM identity.security_audit_log WHERE user_id = $1 AND event = 'stage'",
        ada.id,
    )
    .await;
    assert_eq!(logged, 2);
}
