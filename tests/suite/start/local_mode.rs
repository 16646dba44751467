//! `AUTH_MODE=local`: on loopback, the header `x-user-id` takes the place of a token.

use haven_proto::data::v1::ListMessagesRequest;
use haven_testkit::Stack;
use tonic::{Request, Status};

use crate::status::{reason, violations};

#[tokio::test]
async fn the_header_identifies_the_caller_in_local_mode() {
    let stack = Stack::builder()
        .variable("data", "AUTH_MODE", "local")
        .start()
        .await
        .unwrap();
    let ada = stack.person().await.unwrap();
    list(&stack, Some(&ada.id.to_string())).await.unwrap();
    assert_eq!(reason(&list(&stack, None).await.unwrap_err()), "TOKEN_INVALID");
    let status = list(&stack, Some("ada")).await.unwrap_err();
    assert_eq!(
        violations(&status),
        [("x-user-id".to_owned(), "NOT_A_UUID".to_owned())]
    );
}

#[tokio::test]
async fn the_header_is_ignored_otherwise() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let status = list(stack, Some(&ada.id.to_string())).await.unwrap_err();
    assert_eq!(reason(&status), "TOKEN_INVALID");
}

/// Calls ListMessages, with `user` as `x-user-id`.
async fn list(stack: &Stack, user: Option<&str>) -> Result<(), Status> {
    let mut request = Request::new(ListMessagesRequest::default());
    if let Some(user) = user {
        request.metadata_mut().insert("x-user-id", user.parse().unwrap());
    }
    stack
        .anonymous()
        .unwrap()
        .conversation()
        .list_messages(request)
        .await
        .map(drop)
}
