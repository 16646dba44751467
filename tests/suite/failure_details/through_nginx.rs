//! Failures with many violations, through a real nginx.

use haven_proto::data::v1::{Change, PushChangesRequest, PushMode};
use haven_testkit::{Stack, random};
use tonic::Code;

use super::nginx::{Nginx, PACKAGE};
use crate::{
    packages::require,
    status::{metadata, reason, violations},
    test_device::Device,
};

/// With more headers than its buffer of 4 KiB takes, nginx answers 502, and a client repeats the invalid request.
#[tokio::test]
async fn a_push_with_fifty_violations_is_an_invalid_argument_behind_nginx() {
    let Some(package) = require(&[PACKAGE]) else {
        return;
    };
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let nginx = Nginx::start(&package, stack, "").unwrap();
    let client = nginx
        .client(stack)
        .unwrap()
        .with_token(&phone.person.token)
        .unwrap();
    for count in [1, 25, 26, 50, 100] {
        let wrong = Change {
            record_id: random::uuid().to_string(),
            ..Change::default()
        };
        let request = PushChangesRequest {
            device_id: phone.id.to_string(),
            changes: vec![wrong; count],
            mode: PushMode::Independent.into(),
            request_id: random::uuid().to_string(),
        };
        let status = client.cycle().push_changes(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{count}: {status:?}");
        assert_eq!(reason(&status), "INVALID_FIELD", "{count}");
        let (found, omitted) = (violations(&status).len(), metadata(&status, "violations_omitted"));
        let omitted: usize = omitted.parse().unwrap_or_default();
        assert!(found >= count.min(15), "{count}: {found}");
        assert_eq!(found + omitted, count, "{found} and {omitted}");
    }
    // A success passes as well.
    let list = haven_proto::data::v1::ListRecordsRequest::default();
    client.cycle().list_records(list).await.unwrap();
}
