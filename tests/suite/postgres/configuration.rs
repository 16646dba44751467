//! A server with exactly the files of `deploy/postgres`.

use haven_proto::data::v1::ListMessagesRequest;
use haven_testkit::{Stack, installation::Installation};

use crate::packages;

#[tokio::test]
async fn both_services_serve_from_a_server_configured_as_in_production() {
    let Some(installation) = packages::or_skip(&["postgresql-15-pgaudit"], Installation::with_audit()) else {
        return;
    };
    let stack = Stack::builder()
        .production_cluster(installation)
        .start()
        .await
        .unwrap();
    let ada = stack.person().await.unwrap();
    let request = ListMessagesRequest::default();
    stack
        .user(&ada)
        .unwrap()
        .conversation()
        .list_messages(request)
        .await
        .unwrap();
}
