//! What the owner of an account needs against a thief works when the thief has used up the limits: to stop a device, and to delete.

use haven_proto::data::v1::{DeleteMessageRequest, DeviceStatus, SenderType};
use haven_testkit::{Stack, random};

use super::{append, message, say, small_stack, usage};
use crate::{
    device::{list_all, revoke_request, rotate_request, suspend_request},
    status::{metadata, reason},
    superuser_sql::execute_with,
    test_device::Device,
};

#[tokio::test]
async fn an_owner_deletes_and_stops_devices_at_the_rate_limit() {
    let stack = Stack::builder()
        .variable("data", "MUTATION_LIMIT", "5/24h")
        .start()
        .await
        .unwrap();
    let device = Device::invent(&stack).await.unwrap();
    let ada = &device.client;
    let said = say(ada, "hello").await.unwrap();
    while ada
        .conversation()
        .append_message(message(SenderType::User, "hello"))
        .await
        .is_ok()
    {}
    let request = DeleteMessageRequest {
        message_id: said.id,
        request_id: random::uuid().to_string(),
    };
    ada.conversation().delete_message(request).await.unwrap();
    let [of_thief] = list_all(ada).await.try_into().unwrap();
    let suspend = async || ada.device().suspend_device(suspend_request(&of_thief)).await;
    suspend().await.unwrap();
    let revoke = async || ada.device().revoke_device(revoke_request(&of_thief)).await;
    // A stop without an effect is a mutation like others, so that no one can repeat it without end.
    assert_eq!(reason(&suspend().await.unwrap_err()), "RATE_LIMITED");
    let revoked = revoke().await.unwrap().into_inner().device.unwrap();
    assert_eq!(revoked.status(), DeviceStatus::Revoked);
    assert_eq!(reason(&revoke().await.unwrap_err()), "RATE_LIMITED");
    // Exempt calls have not made the wait longer, nor shorter.
    let request = message(SenderType::User, "hello");
    let refused = ada.conversation().append_message(request).await.unwrap_err();
    assert_eq!(reason(&refused), "RATE_LIMITED");
    let rotate = ada.device().rotate_device_key(rotate_request(&of_thief)).await;
    assert!(rotate.is_err());
}

#[tokio::test]
async fn an_owner_stops_devices_at_the_quota_of_requests() {
    let stack = small_stack().await;
    let device = Device::invent(&stack).await.unwrap();
    let ada = &device.client;
    let used = "INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
        SELECT $1, gen_random_uuid(), 'AppendMessage', sha256('x'), '{}', now() FROM generate_series(1, 200)";
    execute_with(&stack.database, used, device.person.id).await;
    let [of_thief] = list_all(ada).await.try_into().unwrap();
    let suspend = async || ada.device().suspend_device(suspend_request(&of_thief)).await;
    suspend().await.unwrap();
    let refused = suspend().await.unwrap_err();
    assert_eq!(metadata(&refused, "quota"), "requests");
    let revoke = ada.device().revoke_device(revoke_request(&of_thief)).await;
    revoke.unwrap();
}

#[tokio::test]
async fn answers_of_services_do_not_use_up_the_requests_of_a_person() {
    let stack = small_stack().await;
    let device = Device::invent(&stack).await.unwrap();
    let coach = stack.service("backend").unwrap();
    let coach = coach.with_token(&device.person.token).unwrap();
    let before = usage(&device.client).await["requests"].0;
    append(&coach, message(SenderType::Coach, "hello")).await.unwrap();
    assert_eq!(usage(&device.client).await["requests"].0, before);
    say(&device.client, "hello").await.unwrap();
    assert_eq!(usage(&device.client).await["requests"].0, before + 1);
}
