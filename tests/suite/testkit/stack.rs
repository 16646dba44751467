//! Stacks: isolation from each other, and control of their processes.

use anyhow::Result;
use haven_proto::data::v1::{AppendMessageRequest, ListMessagesRequest, SenderType};
use haven_testkit::{Client, Stack, random};

/// Appends a message of the client with `text`.
async fn append(client: &Client, text: &str) -> Result<()> {
    let request = AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: text.to_owned(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    };
    client.conversation().append_message(request).await?;
    Ok(())
}

/// Returns the texts of all messages.
async fn texts(client: &Client) -> Result<Vec<String>> {
    let answer = client
        .conversation()
        .list_messages(ListMessagesRequest::default())
        .await?;
    Ok(answer
        .into_inner()
        .messages
        .into_iter()
        .map(|message| message.text)
        .collect())
}

#[tokio::test]
async fn two_stacks_share_no_data() -> Result<()> {
    let (one, two) = tokio::try_join!(Stack::start(), Stack::start())?;
    let ada = one.person().await?;
    append(&one.user(&ada)?, "hello").await?;
    assert_eq!(texts(&one.user(&ada)?).await?, ["hello"]);
    assert!(two.anonymous()?.sign_in(&ada.email, &ada.password).await.is_err());
    Ok(())
}

#[tokio::test]
async fn services_are_killed_paused_and_started_again() -> Result<()> {
    let mut stack = Stack::start().await?;
    let ada = stack.person().await?;
    let user = stack.user(&ada)?;
    append(&user, "before").await?;

    stack.data.kill();
    let answer = user
        .conversation()
        .list_messages(ListMessagesRequest::default())
        .await;
    assert!(answer.is_err(), "data answered although it was killed");
    stack.data.start().await?;
    append(&user, "after").await?;
    assert_eq!(texts(&user).await?, ["before", "after"]);

    stack.data.pause();
    let mut request = tonic::Request::new(ListMessagesRequest::default());
    request.set_timeout(std::time::Duration::from_millis(300));
    assert!(user.conversation().list_messages(request).await.is_err());
    stack.data.resume();
    assert_eq!(texts(&user).await?.len(), 2);

    assert!(
        stack.identity.stop() && stack.data.stop(),
        "a service did not drain in time"
    );
    assert!(stack.data.output()?.contains("AppendMessage"));
    Ok(())
}

#[tokio::test]
async fn a_stack_with_its_own_cluster_recovers_after_postgres_is_killed() -> Result<()> {
    let mut stack = Stack::builder().own_cluster().counted().start().await?;
    let ada = stack.person().await?;
    let before = stack.round_trips("data");
    append(&stack.user(&ada)?, "before").await?;
    assert!(stack.round_trips("data") > before);

    let cluster = stack.cluster().expect("a cluster of its own");
    cluster.kill();
    cluster.resume().await?;
    stack.data.ready().await?;
    assert_eq!(texts(&stack.user(&ada)?).await?, ["before"]);
    Ok(())
}

#[tokio::test]
async fn a_service_that_cannot_start_reports_the_cause() -> Result<()> {
    let stack = Stack::builder()
        .variable("data", "MESSAGE_KEYS", "nonsense")
        .start()
        .await;
    let problem = format!("{:#}", stack.err().expect("data started"));
    assert!(
        problem.contains("data ended: exit status: 64") && problem.contains("MESSAGE_KEYS"),
        "{problem}"
    );
    Ok(())
}
