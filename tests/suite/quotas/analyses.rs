//! The quotas of analyses never stop a conversation: a message is stored, with its crisis event, when they are used up.

use haven_proto::data::v1::{DeleteAnalysisRequest, RequestAnalysisRequest};
use haven_testkit::{Person, Stack, random};

use super::{say, usage};
use crate::{
    status::{metadata, reason},
    superuser_sql::{execute, scalar_with},
};

const CRISIS: &str = "Sometimes I want to kill myself.";

/// Finishes all jobs of the person, each with a result.
async fn finish_jobs(stack: &Stack, person: &Person) {
    let sql = "INSERT INTO data.analysis_results (user_id, id, analysis_type, chat_score, first_number, last_number,
            details, key_id, created_at)
        SELECT user_id, id, 'chat_scoring', 1, first_number, last_number, 'gAAAA' || repeat('A', 95), 'test-1', now()
        FROM data.analysis_jobs WHERE user_id = 'PERSON' AND state = 'queued';
        UPDATE data.analysis_jobs SET state = 'done', finished_at = now() WHERE user_id = 'PERSON' AND state = 'queued'";
    execute(&stack.database, &sql.replace("PERSON", &person.id.to_string())).await;
}

#[tokio::test]
async fn a_used_up_quota_of_analyses_stops_no_message_and_no_crisis_event() {
    for quota in ["analysis_jobs", "analysis_bytes"] {
        let stack = Stack::builder()
            .variable("data", "QUOTAS", format!("{quota}=1"))
            .start()
            .await
            .unwrap();
        let person = stack.person().await.unwrap();
        let ada = stack.user(&person).unwrap();
        for _ in 0..25 {
            say(&ada, "hello").await.unwrap();
        }
        finish_jobs(&stack, &person).await;
        assert_eq!(usage(&ada).await["analysis_jobs"].0, 1);
        // The 50th and the 75th message would create jobs.
        for _ in 0..52 {
            say(&ada, CRISIS).await.unwrap();
        }
        let events = "SELECT count(*) FROM data.crisis_events WHERE user_id = $1";
        let events: i64 = scalar_with(&stack.database, events, person.id).await;
        // On a busy machine the detector runs out of its 50 ms now and then.
        assert!((40..=52).contains(&events), "{events}");
        let jobs = "SELECT count(*) FROM data.analysis_jobs WHERE user_id = $1";
        assert_eq!(scalar_with::<i64, _>(&stack.database, jobs, person.id).await, 1);
        let request = || RequestAnalysisRequest {
            request_id: random::uuid().to_string(),
        };
        let refused = ada.analysis().request_analysis(request()).await.unwrap_err();
        assert_eq!(reason(&refused), "QUOTA_EXCEEDED");
        assert_eq!(metadata(&refused, "quota"), quota);
        // An analysis that is deleted makes room.
        let id = "SELECT id::text FROM data.analysis_results WHERE user_id = $1";
        let deletion = DeleteAnalysisRequest {
            analysis_id: scalar_with(&stack.database, id, person.id).await,
            request_id: random::uuid().to_string(),
        };
        ada.analysis().delete_analysis(deletion).await.unwrap();
        assert_eq!(usage(&ada).await["analysis_jobs"].0, 0);
        ada.analysis().request_analysis(request()).await.unwrap();
    }
}
