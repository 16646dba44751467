//! `sync_status` of a record.

use haven_proto::data::v1::{ListRecordsRequest, RecordOrder, SyncStatus};
use haven_testkit::Stack;

use super::{get, list_all, store, update};
use crate::{superuser_sql::execute, test_device::Device};

#[tokio::test]
async fn a_record_is_pending_until_every_active_device_has_acknowledged_it() {
    let stack = Stack::shared().await.unwrap();
    let device = Device::invent(stack).await.unwrap();
    let other = device.another().await.unwrap();
    let (first, second) = (store(&device, "first").await, store(&device, "second").await);
    let status = async || {
        let first = get(&device.client, first).await.unwrap().sync_status();
        (first, get(&device.client, second).await.unwrap().sync_status())
    };
    let set = async |device: &Device, what: &str| {
        let sql = format!("UPDATE data.device_key SET {what} WHERE id = '{}'", device.id);
        execute(&stack.database, &sql).await;
    };
    assert_eq!(status().await, (SyncStatus::Pending, SyncStatus::Pending));
    set(&device, "acknowledged_number = 2").await;
    assert_eq!(status().await, (SyncStatus::Pending, SyncStatus::Pending));
    set(&other, "acknowledged_number = 1").await;
    assert_eq!(status().await, (SyncStatus::Synced, SyncStatus::Pending));
    // A suspended device is not waited for.
    set(&other, "status = 'suspended'").await;
    assert_eq!(status().await, (SyncStatus::Synced, SyncStatus::Synced));
    // A change has to be acknowledged again; a conflict takes precedence.
    update(&device.client, device.update(first, 1, "again").unwrap())
        .await
        .unwrap();
    let conflict = format!(
        "UPDATE data.encrypted_cycle_data SET open_conflicts = 1 WHERE user_id = '{}' AND change_number = 2",
        device.person.id
    );
    execute(&stack.database, &conflict).await;
    assert_eq!(status().await, (SyncStatus::Pending, SyncStatus::Conflict));
    let (listed, _) = list_all(
        &device.client,
        ListRecordsRequest {
            order: RecordOrder::ByChange.into(),
            ..ListRecordsRequest::default()
        },
    )
    .await;
    let listed: Vec<_> = listed.iter().map(|record| record.sync_status()).collect();
    assert_eq!(listed, [SyncStatus::Conflict, SyncStatus::Pending]);
}
