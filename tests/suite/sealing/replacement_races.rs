//! Replacing a token: a change of the row since it was read wins.

use std::sync::Arc;

use haven_data::{
    domain::{analysis, message, sealing::Field},
    store::seal::{Replacements, Seals},
};
use haven_platform::{
    call::UserId,
    database::{Database, DatabaseConfig, Pooler},
};
use haven_proto::data::v1::{DeleteMessageRequest, GetMessageRequest, UpdateMessageRequest};
use haven_testkit::{Stack, random};

use super::{OLD, new_key, own_keys, ring, rows_under, seal, seed, seed_analysis, superuser};

/// Returns the store of sealed columns, connected as `data keys` is.
fn seals(stack: &Stack) -> Seals {
    let url = |name: &str| stack.data.variables[name].as_str().into();
    let config = DatabaseConfig {
        schema: "data",
        app_url: url("DATABASE_URL"),
        worker_url: url("WORKER_DATABASE_URL"),
        app_connections: 1,
        worker_connections: 1,
        pooler: Pooler::Session,
    };
    Seals::new(Arc::new(Database::new(&config).unwrap()))
}

#[tokio::test]
async fn a_row_changed_or_deleted_since_it_was_read_is_not_replaced() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let (owner, old) = (UserId::new(ada.id), own_keys(&stack));
    let ids = seed(&stack, &ada, &old, 3).await;
    let new = ring(&format!("{},{old}", new_key()));

    let seals = seals(&stack);
    let rows = seals
        .rows_under(owner, Field::MessageText, OLD, None)
        .await
        .unwrap();
    assert_eq!(rows.len(), 3);
    let mut conversation = stack.user(&ada).unwrap().conversation();
    let update = UpdateMessageRequest {
        message_id: ids[0].to_string(),
        text: "the changed text".into(),
        expected_version: 1,
        request_id: random::uuid().to_string(),
    };
    conversation.update_message(update).await.unwrap();
    let delete = DeleteMessageRequest {
        message_id: ids[1].to_string(),
        request_id: random::uuid().to_string(),
    };
    conversation.delete_message(delete).await.unwrap();

    let mut replacements = Replacements::default();
    for row in rows {
        let sealed = seal(&new, message::cell(owner, row.id), "the text before");
        replacements.add(row, sealed);
    }
    assert_eq!(
        seals
            .replace(owner, Field::MessageText, &replacements)
            .await
            .unwrap(),
        1
    );
    // A second time there is no row left to replace.
    assert_eq!(
        seals
            .replace(owner, Field::MessageText, &replacements)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        (rows_under(&stack, OLD).await, rows_under(&stack, "new").await),
        (1, 1)
    );
    let get = GetMessageRequest {
        message_id: ids[0].to_string(),
    };
    let read = conversation
        .get_message(get)
        .await
        .unwrap()
        .into_inner()
        .message
        .unwrap();
    assert_eq!((read.text.as_str(), read.version), ("the changed text", 2));
}

#[tokio::test]
async fn an_analysis_is_replaced_only_if_its_token_is_the_one_read() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let (owner, old) = (UserId::new(ada.id), own_keys(&stack));
    let id = seed_analysis(&stack, &ada, &old, "{}").await;
    let new = ring(&format!("{},{old}", new_key()));
    let seals = seals(&stack);
    let sealed = |text| seal(&new, analysis::cell(owner, id), text);
    let read = async || {
        seals
            .rows_under(owner, Field::AnalysisDetails, OLD, None)
            .await
            .unwrap()
    };

    let mut stale = Replacements::default();
    stale.add(read().await.remove(0), sealed("stale"));
    let changed = seal(&ring(&old), analysis::cell(owner, id), "{}").token;
    let change = sqlx::query("UPDATE data.analysis_results SET details = $1").bind(changed);
    change.execute(&mut superuser(&stack).await).await.unwrap();
    assert_eq!(
        seals
            .replace(owner, Field::AnalysisDetails, &stale)
            .await
            .unwrap(),
        0
    );

    let mut current = Replacements::default();
    current.add(read().await.remove(0), sealed("{}"));
    // Another person's row is not replaced.
    let other = UserId::new(bob.id);
    assert_eq!(
        seals
            .replace(other, Field::AnalysisDetails, &current)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        seals
            .replace(owner, Field::AnalysisDetails, &current)
            .await
            .unwrap(),
        1
    );
    assert_eq!(rows_under(&stack, "new").await, 1);
}
