//! GetAnalysis: the result of a job, for the person that it is about.

use haven_proto::data::v1::{Analysis, AnalysisType, CompleteJobRequest};
use haven_testkit::{Client, Person, Stack, random};

use super::{ask, get, page, say, stored_result::store_result};
use crate::{
    analysis_jobs::{completion, leased},
    status::{reason, violations},
    superuser_sql::{execute, execute_with, scalar_with},
};

/// Signs a person up on the shared stack.
pub(super) async fn start() -> (&'static Stack, Person, Client) {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    (stack, ada, client)
}

#[tokio::test]
async fn an_analysis_is_sealed_at_rest_and_opened_only_for_its_person() {
    let (stack, ada, client) = start().await;
    let bob = stack.user(&stack.person().await.unwrap()).unwrap();
    let words = ["asked a stranger for the way — и «спасибо» 🎉", "\u{1}\"\\\n"];
    let id = store_result(stack, &ada, (3, 27), &words).await.to_string();
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
    let details = "SELECT details FROM data.analysis_results WHERE user_id = $1";
    let stored: String = scalar_with(&stack.database, details, ada.id).await;
    assert!(
        stored.starts_with("gAAAA") && !stored.contains("stranger"),
        "{stored}"
    );
}

#[tokio::test]
async fn a_person_reads_the_result_that_the_worker_sent() {
    let stack = Stack::start().await.unwrap();
    let client = stack.user(&stack.person().await.unwrap()).unwrap();
    let lease = leased(&stack, &client).await;
    let completion = CompleteJobRequest {
        insights: vec!["was curious".into(), "é".repeat(500)],
        improvement_areas: vec!["could ask more".into()],
        triggered_milestone: "first_question".into(),
        ..completion(lease)
    };
    let worker = stack.service("worker").unwrap();
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
async fn an_analysis_that_is_not_done_is_not_found() {
    let (_, _, client) = start().await;
    say(&client, 1).await;
    let job = ask(&client).await.unwrap();
    assert_eq!(reason(&get(&client, &job.id).await.unwrap_err()), "NOT_FOUND");
    let unknown = random::uuid().to_string();
    assert_eq!(reason(&get(&client, &unknown).await.unwrap_err()), "NOT_FOUND");
    for (id, name) in [("", "REQUIRED"), ("x", "NOT_A_UUID")] {
        let status = get(&client, id).await.unwrap_err();
        assert_eq!(reason(&status), "INVALID_FIELD");
        assert_eq!(violations(&status), [("analysis_id".to_owned(), name.to_owned())]);
    }
}

#[tokio::test]
async fn details_moved_from_another_analysis_do_not_open() {
    let (stack, ada, client) = start().await;
    let one = store_result(stack, &ada, (1, 25), &["one"]).await.to_string();
    let other = store_result(stack, &ada, (26, 50), &["other"]).await.to_string();
    let moved = format!(
        "UPDATE data.analysis_results SET details = (SELECT details FROM data.analysis_results WHERE id = '{one}')
         WHERE id = '{other}'"
    );
    execute(&stack.database, &moved).await;
    assert!(get(&client, &one).await.is_ok());
    assert_eq!(reason(&get(&client, &other).await.unwrap_err()), "INTERNAL");
    assert_eq!(reason(&page(&client, 0, "").await.unwrap_err()), "INTERNAL");
    // A key that is not in the key ring.
    let lose_key = "UPDATE data.analysis_results SET key_id = 'lost' WHERE user_id = $1";
    execute_with(&stack.database, lose_key, ada.id).await;
    assert_eq!(reason(&get(&client, &one).await.unwrap_err()), "INTERNAL");
}
