//! GetAnalysis and ListAnalyses: what was found, for its person alone.

use haven_proto::data::v1::{Analysis, AnalysisType, CompleteJobRequest, ListMessagesRequest};
use haven_testkit::{Client, Person, Stack, random};

use super::{ask, get, page, say, stored_result::found};
use crate::{
    analysis_jobs::{completion, leased},
    status::{reason, violations},
    superuser_sql::{execute, scalar},
};

async fn start() -> (Stack, Person, Client) {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    (stack, ada, client)
}

#[tokio::test]
async fn an_analysis_is_sealed_at_rest_and_opened_for_its_person_alone() {
    let (stack, ada, client) = start().await;
    let bob = stack.user(&stack.person().await.unwrap()).unwrap();
    let words = ["asked a stranger for the way — и «спасибо» 🎉", "\u{1}\"\\\n"];
    let id = found(&stack, &ada, (3, 27), &words).await.to_string();
    let analysis = get(&client, &id).await.unwrap();
    let expected = Analysis {
        id: id.clone(),
        analysis_type: AnalysisType::MilestoneCheck.into(),
        chat_score_tenths: 73,
        first_number: 3,
        last_number: 27,
        insights: words.map(str::to_owned).to_vec(),
        strengths: words.map(str::to_owned).to_vec(),
        improvement_areas: words.map(str::to_owned).to_vec(),
        triggered_milestone: "first_party".into(),
        create_time: Some("2026-11-22T12:00:00Z".parse().unwrap()),
        version: 1,
    };
    assert_eq!(analysis, expected);
    assert_eq!(page(&client, 0, "").await.unwrap().analyses, [expected]);
    assert_eq!(reason(&get(&bob, &id).await.unwrap_err()), "NOT_FOUND");
    assert!(page(&bob, 0, "").await.unwrap().analyses.is_empty());
    let stored: String = scalar(&stack.database, "SELECT details FROM data.analysis_results").await;
    assert!(
        stored.starts_with("gAAAA") && !stored.contains("stranger"),
        "{stored}"
    );
}

#[tokio::test]
async fn what_a_worker_says_is_what_its_person_reads() {
    let (stack, _, client) = start().await;
    let lease = leased(&stack, &client).await;
    let completion = CompleteJobRequest {
        insights: vec!["was curious".into(), "é".repeat(500)],
        improvement_areas: vec!["could ask more".into()],
        triggered_milestone: "first_question".into(),
        ..completion(lease)
    };
    let worker = stack.service("backend").unwrap();
    let completed = worker.queue().complete_job(completion.clone()).await.unwrap();
    let completed = completed.into_inner();
    let expected = Analysis {
        id: completed.analysis_id.clone(),
        analysis_type: completion.analysis_type,
        chat_score_tenths: completion.chat_score_tenths,
        first_number: 1,
        last_number: 1,
        insights: completion.insights,
        strengths: Vec::new(),
        improvement_areas: completion.improvement_areas,
        triggered_milestone: completion.triggered_milestone,
        create_time: completed.create_time,
        version: 1,
    };
    assert_eq!(get(&client, &completed.analysis_id).await.unwrap(), expected);
    assert_eq!(reason(&ask(&client).await.unwrap_err()), "NOTHING_TO_ANALYZE");
}

#[tokio::test]
async fn one_that_is_not_there_yet_is_not_found() {
    let (_stack, _, client) = start().await;
    say(&client, 1).await;
    let job = ask(&client).await.unwrap();
    assert_eq!(reason(&get(&client, &job.id).await.unwrap_err()), "NOT_FOUND");
    let nobodys = random::uuid().to_string();
    assert_eq!(reason(&get(&client, &nobodys).await.unwrap_err()), "NOT_FOUND");
    for (id, name) in [("", "REQUIRED"), ("x", "NOT_A_UUID")] {
        let status = get(&client, id).await.unwrap_err();
        assert_eq!(reason(&status), "INVALID_FIELD");
        assert_eq!(violations(&status), [("analysis_id".to_owned(), name.to_owned())]);
    }
}

#[tokio::test]
async fn details_of_another_analysis_do_not_open() {
    let (stack, ada, client) = start().await;
    let one = found(&stack, &ada, (1, 25), &["one"]).await.to_string();
    let other = found(&stack, &ada, (26, 50), &["other"]).await.to_string();
    let moved = format!(
        "UPDATE data.analysis_results SET details = (SELECT details FROM data.analysis_results WHERE id = '{one}')
         WHERE id = '{other}'"
    );
    execute(&stack.database, &moved).await;
    assert!(get(&client, &one).await.is_ok());
    assert_eq!(reason(&get(&client, &other).await.unwrap_err()), "INTERNAL");
    assert_eq!(reason(&page(&client, 0, "").await.unwrap_err()), "INTERNAL");
    // A key that is not in the ring.
    execute(
        &stack.database,
        "UPDATE data.analysis_results SET key_id = 'lost'",
    )
    .await;
    assert_eq!(reason(&get(&client, &one).await.unwrap_err()), "INTERNAL");
}

#[tokio::test]
async fn pages_of_every_size_show_each_once_while_others_come() {
    const BEFORE: i64 = 8;
    let (stack, ada, client) = start().await;
    for number in 1..=BEFORE {
        found(&stack, &ada, (number * 100, number * 100), &["before"]).await;
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
            // A newer one comes: it is before what is left, and pushes nothing over to the next page.
            newest += 1;
            found(&stack, &ada, (newest, newest), &["meanwhile"]).await;
        }
        assert_eq!(seen, expected, "{size}");
        assert_eq!(pages, (BEFORE + size as i64 - 1) / size as i64, "{size}");
        execute(
            &stack.database,
            "DELETE FROM data.analysis_jobs WHERE last_number > 800",
        )
        .await;
    }
    // One of older messages that was found late comes where it belongs.
    let first = page(&client, 4, "").await.unwrap();
    found(&stack, &ada, (150, 150), &["late"]).await;
    let rest = page(&client, 0, &first.next_page_token).await.unwrap();
    let rest: Vec<_> = rest.analyses.iter().map(|one| one.last_number).collect();
    assert_eq!(rest, [400, 300, 200, 150, 100]);
}

#[tokio::test]
async fn a_page_of_the_largest_analyses_stays_below_the_size_of_an_answer() {
    let (stack, ada, client) = start().await;
    let largest = "🎉".repeat(500);
    for number in 1..=51 {
        found(&stack, &ada, (number, number), &[largest.as_str(); 10]).await;
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
async fn a_page_token_is_its_callers_for_this_list_alone() {
    let (stack, ada, client) = start().await;
    let bob = stack.person().await.unwrap();
    let bobs = stack.user(&bob).unwrap();
    for person in [&ada, &bob] {
        for number in 1..=2 {
            found(&stack, person, (number, number), &[]).await;
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
