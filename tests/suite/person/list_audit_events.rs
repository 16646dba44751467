//! Audit events of changes to devices, and ListAuditEvents.

use haven_proto::data::v1::{AuditEvent, AuditEventType, ListAuditEventsRequest};
use haven_testkit::{Client, Stack};
use tonic::Status;

use crate::{
    device::{
        new_person, new_registration, register, revoke, revoke_request, rotate, rotate_request, suspend,
        suspend_request,
    },
    status::reason,
    superuser_sql::execute,
};

/// Returns the events on a page, and the token of the next one.
async fn page(
    client: &Client,
    page_size: i32,
    page_token: &str,
) -> Result<(Vec<AuditEvent>, String), Status> {
    let request = ListAuditEventsRequest {
        page_size,
        page_token: page_token.to_owned(),
    };
    let page = client.person().list_audit_events(request).await?.into_inner();
    Ok((page.events, page.next_page_token))
}

#[tokio::test]
async fn every_change_of_a_device_is_audited() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (new_person(stack).await, new_person(stack).await);
    assert!(page(&ada, 0, "").await.unwrap().0.is_empty());
    let device = register(&ada, new_registration()).await.unwrap();
    suspend(&ada, suspend_request(&device)).await.unwrap();
    let rotated = rotate(&ada, rotate_request(&device)).await.unwrap();
    // Refused calls make no events.
    assert_eq!(
        reason(&rotate(&ada, rotate_request(&device)).await.unwrap_err()),
        "VERSION_CONFLICT"
    );
    assert_eq!(
        reason(&revoke(&bob, revoke_request(&device)).await.unwrap_err()),
        "NOT_FOUND"
    );
    revoke(&ada, revoke_request(&rotated)).await.unwrap();
    let (events, next) = page(&ada, 0, "").await.unwrap();
    assert_eq!(next, "");
    let types: Vec<_> = events.iter().map(AuditEvent::event_type).collect();
    let expected = [
        AuditEventType::DeviceRevoked,
        AuditEventType::DeviceKeyRotated,
        AuditEventType::DeviceSuspended,
        AuditEventType::DeviceRegistered,
    ];
    assert_eq!(types, expected, "the newest first");
    assert!(events.iter().all(|event| event.subject_id == device.device_id));
    assert_eq!(events[3].event_time, device.create_time);
    assert_eq!(events[1].event_time, rotated.last_active_time);
    assert!(
        page(&bob, 0, "").await.unwrap().0.is_empty(),
        "another person must not see the events"
    );
}

#[tokio::test]
async fn pages_have_no_gap_and_no_repetition() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (new_person(stack).await, new_person(stack).await);
    let mut devices = Vec::new();
    for _ in 0..5 {
        devices.push(register(&ada, new_registration()).await.unwrap().device_id);
    }
    // Events of the same time are in the order of their ids.
    let same_time = format!(
        "UPDATE data.security_audit_log SET occurred_at = '2026-01-01' WHERE subject_id IN ('{}')",
        devices[..3].join("', '")
    );
    execute(&stack.database, &same_time).await;
    let (all, _) = page(&ada, 0, "").await.unwrap();
    assert_eq!(all.len(), 5);
    for size in 1..=6 {
        let (mut seen, mut token) = (Vec::new(), String::new());
        for _ in 0..5_usize.div_ceil(size as usize) {
            let (events, next) = page(&ada, size, &token).await.unwrap();
            seen.extend(events);
            token = next;
        }
        assert_eq!(seen, all, "{size} on a page");
        assert_eq!(token, "", "{size} on a page");
    }
    let (_, token) = page(&ada, 1, "").await.unwrap();
    assert_eq!(
        reason(&page(&bob, 1, &token).await.unwrap_err()),
        "PAGE_TOKEN_INVALID"
    );
    assert_eq!(
        reason(&page(&ada, 1, "x").await.unwrap_err()),
        "PAGE_TOKEN_INVALID"
    );
    assert_eq!(reason(&page(&ada, -1, "").await.unwrap_err()), "INVALID_FIELD");
}
