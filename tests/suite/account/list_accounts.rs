//! ListAccounts: services list every account once, page by page.

use haven_proto::identity::v1::{Account, ListAccountsRequest, ListAccountsResponse};
use haven_testkit::{Client, Stack};
use prost_types::Timestamp;
use tonic::Status;

use crate::{
    status::{reason, violations},
    superuser_sql::execute,
};

/// Creation time of the first account, in seconds since 1970. Each further account is a second younger.
const BEGIN: i64 = 1_767_225_600;

/// Inserts the accounts `first` to `last`: even numbers at stage 1, odd numbers at stage 3. Numbers 3 and 4 of every five
/// have the same creation time.
async fn insert_accounts(stack: &Stack, first: i64, last: i64) {
    execute(
        &stack.database,
        &format!(
            "INSERT INTO identity.users (id, email, email_canonical, password_hash, goals, stage, created_at, updated_at)
            SELECT gen_random_uuid(), 'person-' || n || '@example.org', 'person-' || n || '@example.org', '$argon2id$',
                '{{make_friends}}', CASE WHEN n % 2 = 0 THEN 1 ELSE 3 END, at, at
            FROM generate_series({first}, {last}) AS n,
                LATERAL (SELECT to_timestamp({BEGIN} + CASE WHEN n % 5 = 4 THEN n - 1 ELSE n END) AS at) AS created"
        ),
    )
    .await;
}

/// Returns the creation time of account `second`.
fn at(second: i64) -> Option<Timestamp> {
    let seconds = BEGIN + second;
    Some(Timestamp { seconds, nanos: 0 })
}

/// Calls ListAccounts once, without retries.
async fn list(client: &Client, request: ListAccountsRequest) -> Result<ListAccountsResponse, Status> {
    Ok(client.account().list_accounts(request).await?.into_inner())
}

/// Lists all pages of `request`. Returns the accounts, and the size of each page.
async fn all(client: &Client, mut request: ListAccountsRequest) -> (Vec<Account>, Vec<usize>) {
    let (mut accounts, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let page = list(client, request.clone()).await.unwrap();
        sizes.push(page.accounts.len());
        accounts.extend(page.accounts);
        if page.next_page_token.is_empty() {
            return (accounts, sizes);
        }
        request.page_token = page.next_page_token;
    }
}

/// Returns the seconds from [`BEGIN`] to the account's creation, and its id: the order of the list.
fn seconds_and_id(account: &Account) -> (i64, &str) {
    (account.create_time.unwrap().seconds - BEGIN, &account.id)
}

#[tokio::test]
async fn pages_of_every_size_have_every_account_once_and_in_order() {
    let stack = Stack::start().await.unwrap();
    insert_accounts(&stack, 0, 22).await;
    let backend = stack.service("backend").unwrap();
    let sized = |page_size| ListAccountsRequest {
        page_size,
        ..Default::default()
    };
    let (whole, sizes) = all(&backend, sized(0)).await;
    assert_eq!(sizes, [23]);
    assert!(whole.is_sorted_by_key(|account| {
        let (second, id) = seconds_and_id(account);
        (second, id.to_owned())
    }));
    for page_size in 1..=24 {
        let (accounts, sizes) = all(&backend, sized(page_size)).await;
        assert_eq!(accounts, whole, "pages of {page_size}");
        let size = usize::try_from(page_size).unwrap();
        let (last, others) = sizes.split_last().unwrap();
        assert!(
            others.iter().all(|one| *one == size) && (1..=size).contains(last),
            "{sizes:?}"
        );
    }
    let status = list(&backend, sized(-1)).await.unwrap_err();
    assert_eq!(
        violations(&status),
        [("page_size".to_owned(), "NEGATIVE".to_owned())]
    );
}

#[tokio::test]
async fn accounts_created_between_pages_appear_once_on_later_pages() {
    let stack = Stack::start().await.unwrap();
    insert_accounts(&stack, 0, 9).await;
    let backend = stack.service("backend").unwrap();
    let mut request = ListAccountsRequest {
        page_size: 3,
        ..Default::default()
    };
    let mut accounts = Vec::new();
    for round in 0.. {
        let page = list(&backend, request.clone()).await.unwrap();
        accounts.extend(page.accounts);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        if round < 4 {
            insert_accounts(&stack, 10 + 2 * round, 11 + 2 * round).await;
        }
    }
    assert_eq!(accounts.len(), 18);
    assert!(accounts.is_sorted_by_key(|account| seconds_and_id(account).0));
    let mut ids: Vec<_> = accounts.iter().map(|account| &account.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 18);
}

#[tokio::test]
async fn filters_by_stage_and_creation_time_and_email_addresses_on_request_only() {
    let stack = Stack::start().await.unwrap();
    insert_accounts(&stack, 0, 19).await;
    let backend = stack.service("backend").unwrap();
    let pages_of_two = ListAccountsRequest {
        page_size: 2,
        ..Default::default()
    };
    for stage in 0..=3 {
        let (accounts, _) = all(
            &backend,
            ListAccountsRequest {
                stage,
                ..pages_of_two.clone()
            },
        )
        .await;
        let expected = [20, 10, 0, 10][usize::try_from(stage).unwrap()];
        assert_eq!(accounts.len(), expected, "stage {stage}");
        assert!(
            accounts
                .iter()
                .all(|account| stage == 0 || account.stage == stage)
        );
        assert!(accounts.iter().all(|account| account.email.is_empty()));
    }
    // created_from is inclusive, created_before exclusive. Accounts 3 and 4 have the same creation time.
    for (from, before, expected) in [
        (None, at(3), 3),
        (None, at(4), 5),
        (at(3), None, 17),
        (at(4), None, 15),
        (at(5), at(10), 5),
        (at(100), None, 0),
    ] {
        for stage in [0, 1, 3] {
            let filtered = ListAccountsRequest {
                stage,
                created_from: from,
                created_before: before,
                ..pages_of_two.clone()
            };
            let (accounts, _) = all(&backend, filtered).await;
            if stage == 0 {
                assert_eq!(accounts.len(), expected, "{from:?} {before:?}");
            }
            for account in &accounts {
                let seconds = account.create_time.unwrap().seconds;
                assert!(from.is_none_or(|from| seconds >= from.seconds));
                assert!(before.is_none_or(|before| seconds < before.seconds));
            }
        }
    }
    let with_email = ListAccountsRequest {
        include_email: true,
        ..pages_of_two
    };
    let (accounts, _) = all(&backend, with_email).await;
    assert!(
        accounts
            .iter()
            .all(|account| account.email.starts_with("person-"))
    );
}

#[tokio::test]
async fn a_page_token_is_valid_for_its_service_and_its_filter() {
    let stack = Stack::builder()
        .admit("identity", "another=accounts")
        .start()
        .await
        .unwrap();
    insert_accounts(&stack, 0, 9).await;
    let backend = stack.service("backend").unwrap();
    let request = ListAccountsRequest {
        page_size: 1,
        stage: 1,
        created_from: at(0),
        ..Default::default()
    };
    let page_token = list(&backend, request.clone()).await.unwrap().next_page_token;
    let request = ListAccountsRequest {
        page_token,
        ..request
    };
    // page_size and include_email may change from page to page.
    for (page_size, include_email) in [(1, false), (3, true)] {
        let page = list(
            &backend,
            ListAccountsRequest {
                page_size,
                include_email,
                ..request.clone()
            },
        )
        .await;
        assert_eq!(page.unwrap().accounts.len(), usize::try_from(page_size).unwrap());
    }
    let status = list(&stack.service("another").unwrap(), request.clone())
        .await
        .unwrap_err();
    assert_eq!(
        reason(&status),
        "PAGE_TOKEN_INVALID",
        "a page token of another service"
    );
    let cut = request.page_token[1..].to_owned();
    for other in [
        ListAccountsRequest {
            stage: 0,
            ..request.clone()
        },
        ListAccountsRequest {
            stage: 3,
            ..request.clone()
        },
        ListAccountsRequest {
            created_from: None,
            ..request.clone()
        },
        ListAccountsRequest {
            created_from: at(1),
            ..request.clone()
        },
        ListAccountsRequest {
            created_before: at(9),
            ..request.clone()
        },
        ListAccountsRequest {
            page_token: cut,
            ..request.clone()
        },
        ListAccountsRequest {
            page_token: "x".into(),
            ..request.clone()
        },
    ] {
        let status = list(&backend, other).await.unwrap_err();
        assert_eq!(reason(&status), "PAGE_TOKEN_INVALID");
    }
    let wrong = ListAccountsRequest {
        stage: 4,
        created_from: at(5),
        created_before: at(5),
        ..Default::default()
    };
    let status = list(&backend, wrong).await.unwrap_err();
    let expected = [("stage", "UNKNOWN_VALUE"), ("created_before", "NOT_LATER")];
    assert_eq!(
        violations(&status),
        expected.map(|(field, name)| (field.to_owned(), name.to_owned()))
    );
    let ada = stack.person().await.unwrap();
    let status = list(&stack.user(&ada).unwrap(), ListAccountsRequest::default())
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "ACCESS_DENIED");
}
