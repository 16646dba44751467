//! ListConflicts: order, pages and page tokens.

use haven_proto::data::v1::{ConflictResolution, ListConflictsRequest, ListConflictsResponse};
use haven_testkit::{Stack, random};
use tonic::Status;

use super::{open_conflicts, push, resolve, retry_call, settle_request, two_versions};
use crate::{status::reason, superuser_sql::execute, test_device::Device};

/// Calls ListConflicts, and retries the call when the answer allows a retry.
async fn page(device: &Device, request: ListConflictsRequest) -> Result<ListConflictsResponse, Status> {
    let mut cycle = device.client.cycle();
    retry_call(request, async |request| cycle.list_conflicts(request).await).await
}

#[tokio::test]
async fn conflicts_are_listed_in_the_order_in_which_they_were_made() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let (a, b) = (two_versions(&phone).await, two_versions(&phone).await);
    // A single push makes many conflicts: ids generated within one millisecond are in no order, so the order is that of
    // the changes.
    let late = (0..60).map(|i| {
        phone
            .put(if i % 3 == 0 { b } else { a }, 1, &i.to_string())
            .unwrap()
    });
    let results = push(&phone, late.collect()).await;
    let ids: Vec<_> = results.iter().map(|result| result.conflict_id.clone()).collect();
    let listed = async |record| -> Vec<String> {
        let kept = open_conflicts(&phone, record).await;
        kept.into_iter().map(|one| one.conflict_id).collect()
    };
    assert_eq!(listed(None).await, ids);
    let of = |rest: bool| {
        let of = ids.iter().enumerate().filter(move |(i, _)| (i % 3 == 0) == rest);
        of.map(|(_, id)| id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(listed(Some(a)).await, of(false));
    assert_eq!(listed(Some(b)).await, of(true));
    assert_eq!(listed(Some(random::uuid())).await, [""; 0]);
    // A page has 50 conflicts at most, or as many as `page_size` says. A page token is valid for its own list only.
    let all = ListConflictsRequest::default();
    let of_a = ListConflictsRequest {
        record_id: a.to_string(),
        page_size: 7,
        ..all.clone()
    };
    let sizes = [(0, 50), (50, 50), (51, 50), (i32::MAX, 50), (1, 1)];
    for (page_size, expected) in sizes {
        let request = ListConflictsRequest {
            page_size,
            ..all.clone()
        };
        assert_eq!(page(&phone, request).await.unwrap().conflicts.len(), expected);
    }
    let first = page(&phone, of_a.clone()).await.unwrap();
    assert_eq!(first.conflicts.len(), 7);
    let next = |request: &ListConflictsRequest| ListConflictsRequest {
        page_token: first.next_page_token.clone(),
        ..request.clone()
    };
    let second = page(&phone, next(&of_a)).await.unwrap();
    let listed: Vec<_> = second.conflicts.iter().map(|one| &one.conflict_id).collect();
    assert_eq!(listed, of(false)[7..14].iter().collect::<Vec<_>>());
    let of_b = ListConflictsRequest {
        record_id: b.to_string(),
        ..all.clone()
    };
    let bob = Device::invent(stack).await.unwrap();
    for status in [
        page(&phone, next(&all)).await.unwrap_err(),
        page(&phone, next(&of_b)).await.unwrap_err(),
        page(&bob, next(&of_a)).await.unwrap_err(),
    ] {
        assert_eq!(reason(&status), "PAGE_TOKEN_INVALID");
    }
    // Conflicts settled between two pages are left out, and the rest of the list does not shift.
    let settled: Vec<_> = of(false)[5..9].to_vec();
    let settled: Vec<_> = settled.iter().map(String::as_str).collect();
    let request = settle_request(&phone, a, 2, &settled, ConflictResolution::Keep);
    assert_eq!(resolve(&phone, request).await.unwrap().open_conflicts, 36);
    let third = page(&phone, next(&of_a)).await.unwrap();
    let listed: Vec<_> = third.conflicts.iter().map(|one| &one.conflict_id).collect();
    assert_eq!(listed, of(false)[9..16].iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn fifty_of_the_largest_conflicts_fit_on_a_page() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let id = two_versions(&phone).await;
    let largest = "x".repeat(65_536 - 16);
    for _ in 0..4 {
        let late = (0..15).map(|_| phone.put(id, 1, &largest).unwrap());
        push(&phone, late.collect()).await;
    }
    let first = page(&phone, ListConflictsRequest::default()).await.unwrap();
    assert_eq!(first.conflicts.len(), 50);
    assert!(
        first
            .conflicts
            .iter()
            .all(|one| one.encrypted_payload.len() == 65_536)
    );
    assert_eq!(open_conflicts(&phone, None).await.len(), 60);
}

#[tokio::test]
async fn a_device_that_is_named_must_be_active_and_the_callers() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let asking = |device: String| ListConflictsRequest {
        device_id: device,
        ..ListConflictsRequest::default()
    };
    assert!(page(&phone, asking(phone.id.to_string())).await.is_ok());
    let status = page(&phone, asking(random::uuid().to_string()))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    let suspend = format!(
        "UPDATE data.device_key SET status = 'suspended' WHERE id = '{}'",
        phone.id
    );
    execute(&stack.database, &suspend).await;
    let status = page(&phone, asking(phone.id.to_string())).await.unwrap_err();
    assert_eq!(reason(&status), "DEVICE_INACTIVE");
    assert!(page(&phone, asking(String::new())).await.is_ok());
}
