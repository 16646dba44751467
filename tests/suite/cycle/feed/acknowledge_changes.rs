//! AcknowledgeChanges, and the sync status of records that depends on it.

use futures_util::future::join_all;
use haven_proto::data::v1::{GetRecordRequest, RevokeDeviceRequest, SuspendDeviceRequest, SyncStatus};
use haven_testkit::{Stack, random};
use uuid::Uuid;

use super::{BEGINNING, acknowledge, catch_up, create, pull, update};
use crate::{status::reason, superuser_sql::scalar_by_id, test_device::Device};

/// Returns the sync status of a record.
async fn status(device: &Device, record: Uuid) -> SyncStatus {
    let request = GetRecordRequest {
        record_id: record.to_string(),
        device_id: String::new(),
    };
    let answer = device.client.cycle().get_record(request).await.unwrap();
    answer.into_inner().record.unwrap().sync_status()
}

#[tokio::test]
async fn a_record_is_pending_until_every_active_device_has_acknowledged_it() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let laptop = phone.another().await.unwrap();
    let (a, b) = (create(&phone, "a").await, create(&phone, "b").await);
    let (_, both) = pull(&phone, BEGINNING).await.unwrap();
    let answer = acknowledge(&phone, &both).await.unwrap();
    assert_eq!(
        (answer.acknowledged_change_number, answer.synced_change_number),
        (2, 0)
    );
    assert_eq!(status(&phone, a).await, SyncStatus::Pending);
    let answer = acknowledge(&laptop, &both).await.unwrap();
    assert_eq!(
        (answer.acknowledged_change_number, answer.synced_change_number),
        (2, 2)
    );
    assert_eq!(status(&phone, a).await, SyncStatus::Synced);
    // The feed shows the sync status as well.
    let (entries, _) = pull(&phone, BEGINNING).await.unwrap();
    let statuses = entries
        .iter()
        .map(|entry| entry.record.as_ref().unwrap().sync_status());
    assert_eq!(statuses.collect::<Vec<_>>(), [SyncStatus::Synced; 2]);

    update(&laptop, a, 1, "a, again").await;
    assert_eq!(status(&phone, a).await, SyncStatus::Pending);
    assert_eq!(status(&phone, b).await, SyncStatus::Synced);
    // A new device has acknowledged nothing yet.
    let tablet = phone.another().await.unwrap();
    assert_eq!(status(&phone, b).await, SyncStatus::Pending);
    for device in [&phone, &laptop, &tablet] {
        catch_up(device, BEGINNING).await;
    }
    assert_eq!(status(&phone, a).await, SyncStatus::Synced);
    assert_eq!(status(&phone, b).await, SyncStatus::Synced);
}

#[tokio::test]
async fn a_suspended_or_revoked_device_is_not_waited_for() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let (lost, stolen) = (phone.another().await.unwrap(), phone.another().await.unwrap());
    let record = create(&phone, "a").await;
    let cursor = catch_up(&phone, BEGINNING).await;
    let mut devices = phone.client.device();
    let request = SuspendDeviceRequest {
        device_id: lost.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    devices.suspend_device(request).await.unwrap();
    assert_eq!(status(&phone, record).await, SyncStatus::Pending);
    let request = RevokeDeviceRequest {
        device_id: stolen.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    devices.revoke_device(request).await.unwrap();
    assert_eq!(status(&phone, record).await, SyncStatus::Synced);
    for device in [&lost, &stolen] {
        let refused = acknowledge(device, &cursor).await.unwrap_err();
        assert_eq!(reason(&refused), "DEVICE_INACTIVE");
    }
}

#[tokio::test]
async fn an_older_cursor_does_not_lower_the_acknowledged_number() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let mut cursors = vec![pull(&phone, BEGINNING).await.unwrap().1];
    for content in ["a", "b", "c"] {
        create(&phone, content).await;
        cursors.push(pull(&phone, BEGINNING).await.unwrap().1);
    }
    let mut greatest = 0;
    for number in [0, 2, 1, 0, 2, 3, 0] {
        let answer = acknowledge(&phone, &cursors[number as usize]).await.unwrap();
        greatest = greatest.max(number);
        assert_eq!(
            (answer.acknowledged_change_number, answer.synced_change_number),
            (greatest, greatest)
        );
    }
}

#[tokio::test]
async fn the_greatest_of_concurrent_acknowledgements_is_kept() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let mut cursors = Vec::new();
    for number in 0..10 {
        create(&phone, &number.to_string()).await;
        cursors.push(pull(&phone, BEGINNING).await.unwrap().1);
    }
    let answers = join_all(cursors.iter().map(|cursor| acknowledge(&phone, cursor))).await;
    for (answer, number) in answers.into_iter().zip(1..) {
        assert!(answer.unwrap().acknowledged_change_number >= number);
    }
    let sql = "SELECT acknowledged_number FROM data.device_key WHERE id = $1";
    let kept: i64 = scalar_by_id(&stack.database, phone.id, sql).await;
    assert_eq!(kept, 10);
}
