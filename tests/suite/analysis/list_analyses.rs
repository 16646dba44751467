//! ListAnalyses: pages of the person's analyses, newest messages first.

use haven_proto::data::v1::ListMessagesRequest;

use super::{get_analysis::start, page, say, stored_result::store_result};
use crate::{
    status::{reason, violations},
    superuser_sql::execute_with,
};

#[tokio::test]
async fn every_page_size_lists_each_analysis_once_while_new_ones_are_stored() {
    const BEFORE: i64 = 8;
    let (stack, ada, client) = start().await;
    for number in 1..=BEFORE {
        store_result(stack, &ada, (number * 100, number * 100), &["before"]).await;
    }
    let expected: Vec<i64> = (1..=BEFORE).rev().map(|number| number * 100).collect();
    let mut newest = BEFORE * 100;
    for size in 1..=BEFORE as i32 + 1 {
        let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = page(&client, size, &token).await.unwrap();
            assert!(page.analyses.len() <= size as usize);
            let before = page.analyses.iter().filter(|one| one.insights == ["before"]);
            seen.extend(before.map(|one| one.last_number));
            pages += 1;
            assert!(pages <= BEFORE, "the pages do not end");
            if page.next_page_token.is_empty() {
                break;
            }
            assert_eq!(page.analyses.len(), size as usize);
            token = page.next_page_token;
            // A newer one is stored: it belongs before this page, and does not move the remaining ones.
            newest += 1;
            store_result(stack, &ada, (newest, newest), &["meanwhile"]).await;
        }
        assert_eq!(seen, expected, "{size}");
        assert_eq!(pages, (BEFORE + size as i64 - 1) / size as i64, "{size}");
        let delete_newer = "DELETE FROM data.analysis_jobs WHERE user_id = $1 AND last_number > 800";
        execute_with(&stack.database, delete_newer, ada.id).await;
    }
    // An analysis of older messages that is stored later is listed in the order of its messages.
    let first = page(&client, 4, "").await.unwrap();
    store_result(stack, &ada, (150, 150), &["late"]).await;
    let rest = page(&client, 0, &first.next_page_token).await.unwrap();
    let rest: Vec<_> = rest.analyses.iter().map(|one| one.last_number).collect();
    assert_eq!(rest, [400, 300, 200, 150, 100]);
}

#[tokio::test]
async fn a_page_of_the_largest_analyses_fits_into_an_answer() {
    let (stack, ada, client) = start().await;
    let largest = "🎉".repeat(500);
    for number in 1..=51 {
        store_result(stack, &ada, (number, number), &[largest.as_str(); 10]).await;
    }
    for size in [0, 50, 51, 1000] {
        let first = page(&client, size, "").await.unwrap();
        assert_eq!(first.analyses.len(), 50, "{size}");
        let rest = page(&client, size, &first.next_page_token).await.unwrap();
        assert_eq!(
            (rest.analyses.len(), rest.next_page_token.as_str()),
            (1, ""),
            "{size}"
        );
        assert_eq!(rest.analyses[0].insights, vec![largest.clone(); 10]);
    }
}

#[tokio::test]
async fn a_page_token_is_bound_to_its_caller_and_its_list() {
    let (stack, ada, client) = start().await;
    let bob = stack.person().await.unwrap();
    let bobs = stack.user(&bob).unwrap();
    for person in [&ada, &bob] {
        for number in 1..=2 {
            store_result(stack, person, (number, number), &[]).await;
        }
    }
    let token = page(&client, 1, "").await.unwrap().next_page_token;
    assert_eq!(page(&client, 1, &token).await.unwrap().analyses.len(), 1);
    say(&client, 2).await;
    let messages = ListMessagesRequest {
        page_size: 1,
        ..ListMessagesRequest::default()
    };
    let messages = client.conversation().list_messages(messages).await.unwrap();
    for (client, token) in [
        (&bobs, token.as_str()),
        (&client, &token[1..]),
        (&client, "x"),
        (&client, &messages.into_inner().next_page_token),
    ] {
        let status = page(client, 1, token).await.unwrap_err();
        assert_eq!(reason(&status), "PAGE_TOKEN_INVALID");
    }
    let status = page(&client, -1, "").await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    assert_eq!(
        violations(&status),
        [("page_size".to_owned(), "NEGATIVE".to_owned())]
    );
}
