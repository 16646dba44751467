//! ListUsers and LockUser: what a service sees of people, and how it locks one.

use haven_proto::data::v1::{
    KnownUser, ListUsersRequest, ListUsersResponse, LockUserRequest, LockUserResponse, ProvisionUserRequest,
    UserState,
};
use haven_testkit::{Client, Stack, random};
use tonic::Status;
use uuid::Uuid;

use super::{append, erase, person_with_message};
use crate::status::{reason, violations};

async fn list(service: &Client, request: ListUsersRequest) -> Result<ListUsersResponse, Status> {
    Ok(service.person().list_users(request).await?.into_inner())
}

async fn lock(service: &Client, person: Uuid) -> Result<LockUserResponse, Status> {
    let request = LockUserRequest {
        user_id: person.to_string(),
        request_id: random::uuid().to_string(),
    };
    Ok(service.person().lock_user(request).await?.into_inner())
}

/// Returns all users, by pages of `page_size`.
async fn all(service: &Client, page_size: i32) -> Vec<KnownUser> {
    let (mut users, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListUsersRequest {
            page_size,
            page_token,
            user_ids: Vec::new(),
        };
        let page = list(service, request).await.unwrap();
        assert!(page.users.len() <= usize::try_from(page_size).unwrap());
        users.extend(page.users);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return users;
        }
    }
}

#[tokio::test]
async fn users_are_listed_by_pages_in_the_order_of_their_ids() {
    let stack = Stack::builder()
        .admit("data", "another=provisioning")
        .start()
        .await
        .unwrap();
    let identity = stack.service("identity").unwrap();
    let mut people = Vec::new();
    for _ in 0..5 {
        people.push(stack.person().await.unwrap());
    }
    erase(&stack, &people[1]).await;
    lock(&identity, people[3].id).await.unwrap();
    let users = all(&identity, 2).await;
    assert_eq!(users, all(&identity, 200).await);
    let ids: Vec<Uuid> = users.iter().map(|user| user.user_id.parse().unwrap()).collect();
    let mut expected: Vec<Uuid> = people.iter().map(|person| person.id).collect();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    for user in &users {
        let times = (
            user.create_time.is_some(),
            user.lock_time.is_some(),
            user.erase_time.is_some(),
        );
        let expected = match user.user_id.parse::<Uuid>().unwrap() {
            id if id == people[1].id => (UserState::Erased, (false, false, true)),
            id if id == people[3].id => (UserState::Locked, (true, true, false)),
            _ => (UserState::Active, (true, false, false)),
        };
        assert_eq!((user.state(), times), expected);
    }

    // By ids: those that data knows, once each.
    let unknown = random::uuid();
    let request = ListUsersRequest {
        user_ids: [people[1].id, unknown, people[0].id, people[0].id]
            .map(|id| id.to_string())
            .to_vec(),
        ..ListUsersRequest::default()
    };
    let some = list(&identity, request).await.unwrap();
    let mut expected = [people[0].id, people[1].id];
    expected.sort_unstable();
    let found: Vec<_> = some.users.iter().map(|user| user.user_id.clone()).collect();
    assert_eq!(found, expected.map(|id| id.to_string()));
    assert_eq!(some.next_page_token, "");

    // A token belongs to the service that it was given to.
    let first = ListUsersRequest {
        page_size: 1,
        ..ListUsersRequest::default()
    };
    let page_token = list(&identity, first).await.unwrap().next_page_token;
    let stolen = ListUsersRequest {
        page_token,
        ..ListUsersRequest::default()
    };
    let another = stack.service("another").unwrap();
    let refused = list(&another, stolen).await.unwrap_err();
    assert_eq!(reason(&refused), "PAGE_TOKEN_INVALID");
    let wrong = ListUsersRequest {
        page_size: -1,
        user_ids: vec!["ada".into()],
        ..ListUsersRequest::default()
    };
    assert_eq!(
        violations(&list(&identity, wrong).await.unwrap_err()),
        [
            ("page_size".into(), "NEGATIVE".into()),
            ("user_ids[0]".into(), "NOT_A_UUID".into())
        ]
    );
}

#[tokio::test]
async fn a_user_is_locked_once_and_unlocked_by_being_provisioned() {
    let stack = Stack::shared().await.unwrap();
    let identity = stack.service("identity").unwrap();
    let ada = person_with_message(stack).await;
    let client = stack.user(&ada).unwrap();
    let locked = lock(&identity, ada.id).await.unwrap();
    assert_eq!(lock(&identity, ada.id).await.unwrap(), locked);
    assert_eq!(
        reason(&append(&client, "hello").await.unwrap_err()),
        "ACCOUNT_LOCKED"
    );
    let request = ProvisionUserRequest {
        user_id: ada.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    identity.person().provision_user(request).await.unwrap();
    assert_eq!(append(&client, "hello").await.unwrap().number, 2);
    let unknown = lock(&identity, random::uuid()).await.unwrap_err();
    assert_eq!(reason(&unknown), "NOT_FOUND");
    let bob = stack.person().await.unwrap();
    erase(stack, &bob).await;
    assert_eq!(reason(&lock(&identity, bob.id).await.unwrap_err()), "NOT_FOUND");
}
