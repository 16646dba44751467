//! GetUsage: for the person, for a service, and for no other person.

use haven_data::domain::quota::Quota;
use haven_proto::data::v1::GetUsageRequest;
use haven_testkit::{Stack, random};

use super::{say, usage};
use crate::{device::new_person, status::reason};

#[tokio::test]
async fn a_person_and_a_service_see_every_quota_and_its_limit() {
    let stack = Stack::shared().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    let names: Vec<_> = Quota::ALL.map(Quota::name).into();
    let before = usage(&ada).await;
    assert_eq!(before.len(), names.len());
    for quota in Quota::ALL {
        let limit = quota.default_limit().unwrap_or_default();
        assert_eq!(before[quota.name()], (0, limit), "{quota:?}");
    }
    say(&ada, "hello").await.unwrap();
    let after = usage(&ada).await;
    assert_eq!((after["messages"].0, after["requests"].0), (1, 1));
    assert!(
        after["message_bytes"].0 >= 100,
        "a sealed text has at least 100 bytes"
    );

    let backend = stack.service("backend").unwrap();
    let request = GetUsageRequest {
        user_id: person.id.to_string(),
    };
    let seen = backend
        .person()
        .get_usage(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        seen.quotas
            .iter()
            .map(|one| one.quota.as_str())
            .collect::<Vec<_>>(),
        names
    );
    assert!(
        seen.quotas
            .iter()
            .all(|one| after[&one.quota] == (one.used, one.limit))
    );
    let bob = new_person(stack).await;
    let refused = bob.person().get_usage(request).await.unwrap_err();
    assert_eq!(reason(&refused), "NOT_FOUND");
}

#[tokio::test]
async fn a_service_names_the_person_and_an_unknown_one_uses_nothing() {
    let stack = Stack::shared().await.unwrap();
    let backend = stack.service("backend").unwrap();
    for user_id in ["", "x"] {
        let request = GetUsageRequest {
            user_id: user_id.into(),
        };
        let refused = backend.person().get_usage(request).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_FIELD");
    }
    let request = GetUsageRequest {
        user_id: random::uuid().to_string(),
    };
    let unknown = backend.person().get_usage(request).await.unwrap().into_inner();
    assert!(unknown.quotas.iter().all(|one| one.used == 0));
}
