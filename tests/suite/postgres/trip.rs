//! The stories of `trip`, on this server.

use super::shared;
use crate::trip::{sealed_messages, sign_up_and_in};

#[tokio::test]
async fn people_sign_up_and_in_on_a_server_configured_as_in_production() {
    let Some(stack) = shared().await else { return };
    sign_up_and_in::provisioned(stack).await;
    sign_up_and_in::token_format(stack).await;
    sign_up_and_in::taken_address(stack).await;
    sign_up_and_in::same_refusal(stack).await;
}

#[tokio::test]
async fn messages_are_sealed_on_a_server_configured_as_in_production() {
    let Some(stack) = shared().await else { return };
    sealed_messages::one_person(stack).await;
    sealed_messages::moved_ciphertext(stack).await;
}
