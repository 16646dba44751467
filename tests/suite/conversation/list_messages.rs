//! ListMessages: each message once, in both orders, between all bounds, with changes between pages.

use futures_util::future::join_all;
use haven_proto::data::v1::{ListMessagesRequest, ListMessagesResponse, MessageOrder, SenderType};
use haven_testkit::{Client, Stack};
use prost::Message as _;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::{delete, deletion, message, say, try_append, walk};
use crate::{
    status::{reason, violations},
    superuser_sql::execute,
};

const ORDERS: [MessageOrder; 2] = [MessageOrder::OldestFirst, MessageOrder::NewestFirst];

fn list(order: MessageOrder, page_size: i32) -> ListMessagesRequest {
    ListMessagesRequest {
        order: order.into(),
        page_size,
        ..ListMessagesRequest::default()
    }
}

async fn page(client: &Client, request: ListMessagesRequest) -> ListMessagesResponse {
    let page = client.conversation().list_messages(request).await;
    page.unwrap().into_inner()
}

#[tokio::test]
async fn every_page_size_lists_each_message_between_the_bounds_once() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    for _ in 1..=13 {
        say(&ada, "hello").await;
    }
    for (after, before) in [
        (0, 0),
        (0, 9),
        (3, 0),
        (3, 9),
        (5, 7),
        (5, 6),
        (9, 3),
        (0, 1),
        (13, 0),
        (12, i64::MAX),
        (i64::MAX, i64::MAX),
    ] {
        let listed = (1..=13).filter(|n| *n > after && (before == 0 || *n < before));
        let upwards: Vec<i64> = listed.collect();
        for (order, size) in ORDERS
            .into_iter()
            .flat_map(|order| (1..=14).map(move |size| (order, size)))
        {
            let request = ListMessagesRequest {
                after_number: after,
                before_number: before,
                ..list(order, size)
            };
            let (seen, pages) = walk(&ada, request).await;
            let mut seen: Vec<_> = seen.iter().map(|message| message.number).collect();
            if order == MessageOrder::NewestFirst {
                seen.reverse();
            }
            let expected = upwards.len().div_ceil(size as usize).max(1);
            let what = format!("{order:?}, {size} from {after} to {before}");
            assert_eq!((&seen, pages), (&upwards, expected), "{what}");
        }
    }
}

#[tokio::test]
async fn two_hundred_of_the_largest_messages_fit_on_a_page() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let largest = "🎉".repeat(2_000);
    for _ in 0..3 {
        join_all((0..67).map(|_| say(&ada, &largest))).await;
    }
    for (order, size) in ORDERS
        .into_iter()
        .flat_map(|order| [200, 201, i32::MAX].map(|size| (order, size)))
    {
        let first = page(&ada, list(order, size)).await;
        assert_eq!(first.messages.len(), 200);
        // The default message limit of gRPC clients.
        assert!(first.encoded_len() < 4 * 1024 * 1024, "{}", first.encoded_len());
        let (seen, pages) = walk(&ada, list(order, size)).await;
        assert_eq!((seen.len(), pages), (201, 2), "{order:?}, {size}");
    }
    let plain = page(&ada, ListMessagesRequest::default()).await;
    assert_eq!((plain.messages.len(), plain.messages[0].number), (50, 1));
}

#[tokio::test]
async fn messages_created_and_deleted_between_pages_cause_no_repeats_and_no_gaps() {
    let stack = Stack::shared().await.unwrap();
    for order in ORDERS {
        let ada = stack.user(&stack.person().await.unwrap()).unwrap();
        for _ in 1..=20 {
            say(&ada, "from the beginning").await;
        }
        let (mut existing, _) = walk(&ada, list(order, 200)).await;
        let mut request = list(order, 4);
        let mut seen = Vec::new();
        loop {
            let shown = page(&ada, request.clone()).await;
            seen.extend(shown.messages.clone());
            assert!(seen.len() <= 200, "the pages do not end");
            if shown.next_page_token.is_empty() {
                break;
            }
            request.page_token = shown.next_page_token;
            // Delete the last message of the page, which the token names; the first one; and one that is not listed yet.
            let [first, .., last] = &shown.messages[..] else {
                panic!("a page of one")
            };
            let next = existing
                .iter()
                .skip_while(|one| one.id != last.id)
                .nth(2)
                .cloned();
            for deleted in [Some(first.clone()), Some(last.clone()), next.clone()]
                .into_iter()
                .flatten()
            {
                delete(&ada, deletion(&deleted)).await.unwrap();
            }
            existing.retain(|one| next.as_ref().is_none_or(|next| one.id != next.id));
            say(&ada, "and another").await;
        }
        // New messages are listed at the end of the ascending list, and never in the descending one.
        let old = seen.iter().filter(|one| one.text == "from the beginning");
        let old: Vec<_> = old.map(|one| one.number).collect();
        let expected: Vec<_> = existing.iter().map(|one| one.number).collect();
        assert_eq!(old, expected, "{order:?}");
        let new = seen.len() - old.len();
        assert_eq!(new > 0, order == MessageOrder::OldestFirst, "{new}, {order:?}");
    }
}

#[tokio::test]
async fn a_page_token_is_bound_to_its_caller_order_and_bounds() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let (ada, bob) = (stack.user(&ada).unwrap(), stack.user(&bob).unwrap());
    for _ in 1..=9 {
        say(&ada, "hello").await;
        say(&bob, "hello").await;
    }
    let request = ListMessagesRequest {
        after_number: 1,
        before_number: 9,
        ..list(MessageOrder::OldestFirst, 3)
    };
    let page_token = page(&ada, request.clone()).await.next_page_token;
    let again = ListMessagesRequest {
        page_token,
        ..request
    };
    // The page size may change between pages.
    let resized = ListMessagesRequest {
        page_size: 1,
        ..again.clone()
    };
    assert_eq!(page(&ada, resized).await.messages[0].number, 5);
    let others = [
        ListMessagesRequest {
            order: MessageOrder::NewestFirst.into(),
            ..again.clone()
        },
        ListMessagesRequest {
            after_number: 0,
            ..again.clone()
        },
        ListMessagesRequest {
            after_number: 2,
            ..again.clone()
        },
        ListMessagesRequest {
            before_number: 0,
            ..again.clone()
        },
        ListMessagesRequest {
            before_number: 8,
            ..again.clone()
        },
    ];
    let refused = others
        .map(|other| (&ada, other))
        .into_iter()
        .chain([(&bob, again)]);
    for (client, request) in refused {
        let listed = client.conversation().list_messages(request.clone()).await;
        assert_eq!(reason(&listed.unwrap_err()), "PAGE_TOKEN_INVALID", "{request:?}");
    }
}

#[tokio::test]
async fn an_invalid_request_is_refused_with_every_violation() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let request = ListMessagesRequest {
        page_size: -1,
        page_token: String::new(),
        order: 9,
        after_number: -1,
        before_number: i64::MIN,
    };
    let status = ada.conversation().list_messages(request).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    let found = violations(&status).into_iter();
    let found: Vec<_> = found.map(|(field, name)| format!("{field} {name}")).collect();
    let expected = [
        "page_size NEGATIVE",
        "order UNKNOWN_VALUE",
        "after_number NEGATIVE",
        "before_number NEGATIVE",
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn people_list_only_their_own_messages() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let through = stack.service("backend").unwrap().with_token(&ada.token).unwrap();
    let (ada, bob) = (stack.user(&ada).unwrap(), stack.user(&bob).unwrap());
    try_append(&through, message(SenderType::Coach, "Welcome"))
        .await
        .unwrap();
    say(&ada, "hello").await;
    let (hers, _) = walk(&ada, ListMessagesRequest::default()).await;
    assert_eq!(hers.len(), 2);
    assert_eq!(walk(&through, ListMessagesRequest::default()).await.0, hers);
    assert_eq!(walk(&bob, ListMessagesRequest::default()).await.0, []);
}

/// Returns the statements of the function behind ListMessages, with the function's arguments as parameters.
async fn statements(superuser: &mut PgConnection) -> Vec<String> {
    let body = "SELECT prosrc FROM pg_proc WHERE oid = to_regproc('data.list_messages_1')";
    let body: String = sqlx::raw_sql(body).fetch_one(superuser).await.unwrap().get(0);
    let statements = body.split("RETURN QUERY").skip(1);
    let statements = statements.map(|rest| rest.split(';').next().unwrap_or_default());
    statements
        .map(|statement| {
            let arguments = [
                ("= caller", "= $1"),
                ("> after", "> $2"),
                ("< before", "< $3"),
                ("LIMIT most", "LIMIT $4"),
            ];
            arguments
                .iter()
                .fold(statement.to_owned(), |statement, (name, number)| {
                    assert!(statement.contains(name), "{name}: {statement}");
                    statement.replace(name, number)
                })
        })
        .collect()
}

#[tokio::test]
async fn a_page_reads_only_the_rows_on_it() {
    let stack = Stack::start().await.unwrap();
    // Three people with 10,000 messages each.
    execute(
        &stack.database,
        "INSERT INTO data.users (id, created_at)
            SELECT ('00000000-0000-4000-8000-00000000000' || person)::uuid, now() FROM generate_series(1, 3) AS person;
        INSERT INTO data.conversations
                (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
            SELECT u.id, gen_random_uuid(), n, 'user', 'gAAAA', 'k', now(), now()
            FROM data.users AS u, generate_series(1, 10000) AS n;
        ANALYZE data.conversations",
    )
    .await;
    let mut connection = stack.database.connect("postgres").await.unwrap();
    let statements = statements(&mut connection).await;
    assert_eq!(statements.len(), 2, "{statements:?}");
    for statement in statements {
        // The page is in the middle of the conversation; the plan is the generic one that all callers share.
        let begin = "BEGIN; SET LOCAL plan_cache_mode = 'force_generic_plan'; SET LOCAL ROLE data_user;
            SELECT set_config('request.jwt.claims', '{\"sub\":\"00000000-0000-4000-8000-000000000002\"}', true);";
        let plan = format!(
            "{begin} PREPARE page (uuid, bigint, bigint, bigint) AS {statement};
            EXPLAIN (ANALYZE, FORMAT TEXT)
                EXECUTE page ('00000000-0000-4000-8000-000000000002', 5000, 9000, 51);
            DEALLOCATE page; ROLLBACK"
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(plan))
            .fetch_all(&mut connection)
            .await
            .unwrap();
        let lines = rows
            .iter()
            .filter_map(|row| row.try_get::<String, _>("QUERY PLAN").ok());
        let plan = lines.collect::<Vec<_>>().join("\n");
        assert!(plan.contains("using conversations_number_key"), "{plan}");
        assert!(plan.contains("rows=51"), "{plan}");
        for costly in ["Sort", "Seq Scan", "Bitmap", "Rows Removed"] {
            assert!(!plan.contains(costly), "{costly}: {plan}");
        }
    }
}
