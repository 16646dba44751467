//! Metrics pages: rate, errors and duration by RPC, connection pools, the hash queue, and the outbox.

use haven_proto::{
    data::v1::{GetMessageRequest, ListMessagesRequest},
    identity::v1::GetSigningKeysRequest,
};
use haven_testkit::{Stack, client::sign_up_request, service::Service};
use sqlx::Connection;

use crate::{eventually::eventually, metrics::Metrics};

/// Scrapes the service's metrics page.
async fn page(service: &Service) -> Metrics {
    Metrics::read(service.listeners.metrics).await
}

#[tokio::test]
async fn rate_errors_and_duration_are_counted_by_rpc() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let keys = "haven.identity.v1.SessionService/GetSigningKeys";
    let (list, get) = (
        "haven.data.v1.ConversationService/ListMessages",
        "haven.data.v1.ConversationService/GetMessage",
    );
    let (identity, data) = (page(&stack.identity).await, page(&stack.data).await);
    for _ in 0..3 {
        client
            .session()
            .get_signing_keys(GetSigningKeysRequest {})
            .await
            .unwrap();
        client
            .conversation()
            .list_messages(ListMessagesRequest::default())
            .await
            .unwrap();
    }
    for _ in 0..2 {
        client
            .conversation()
            .get_message(GetMessageRequest::default())
            .await
            .unwrap_err();
        let anonymous = stack.anonymous().unwrap();
        anonymous
            .conversation()
            .list_messages(ListMessagesRequest::default())
            .await
            .unwrap_err();
    }
    for (service, before, rpc, code, reason, calls) in [
        (&stack.identity, &identity, keys, "Ok", "", 3.0),
        (&stack.data, &data, list, "Ok", "", 3.0),
        (&stack.data, &data, list, "Unauthenticated", "TOKEN_INVALID", 2.0),
        (&stack.data, &data, get, "InvalidArgument", "INVALID_FIELD", 2.0),
    ] {
        let labels = [("rpc", rpc), ("code", code), ("reason", reason)];
        let count = |page: &Metrics| page.sum("haven_rpc_total", &labels).unwrap_or(0.0);
        // data fetches the keys by itself, so the count can be one higher.
        eventually("the calls are counted", async || {
            count(&page(service).await) - count(before) >= calls
        })
        .await;
        let after = page(service).await;
        assert!(
            count(&after) - count(before) <= calls + 1.0,
            "{rpc} {reason}: {}",
            count(&after)
        );
        let grown = |name: &str| {
            let value = |page: &Metrics| page.sum(name, &[("rpc", rpc)]).unwrap_or(0.0);
            value(&after) - value(before)
        };
        assert!(grown("haven_rpc_seconds_count") >= calls, "{rpc}");
        assert!(grown("haven_rpc_seconds_sum") > 0.0, "{rpc}");
        let buckets = [("rpc", rpc), ("le", "10")];
        assert!(
            after
                .sum("haven_rpc_seconds_bucket", &buckets)
                .is_some_and(|count| count >= calls),
            "{rpc}"
        );
    }
    let taken = |page: &Metrics| page.sum("haven_db_transaction_seconds_count", &[("transaction", "SignUp")]);
    assert_eq!(taken(&page(&stack.identity).await), Some(1.0));
    for service in [&stack.identity, &stack.data] {
        // Scrapes are not calls. data calls identity by itself.
        eventually("no call is in flight", async || {
            page(service).await.sum("haven_rpc_in_flight", &[]) == Some(0.0)
        })
        .await;
    }
}

#[tokio::test]
async fn readiness_certificates_tasks_and_retries_are_measured() {
    let stack = Stack::start().await.unwrap();
    let tasks = [
        (
            &stack.identity,
            vec!["certificates", "ended sessions", "outbox", "sweeper"],
        ),
        (
            &stack.data,
            vec![
                "certificates",
                "ended sessions",
                "lease reaper",
                "signing keys",
                "sweeper",
            ],
        ),
    ];
    for (service, tasks) in tasks {
        let found = page(service).await;
        assert_eq!(found.sum("haven_ready", &[]), Some(1.0));
        for (certificate, days) in [("service", 90.0), ("authority", 3650.0)] {
            let labels = [("certificate", certificate)];
            let expiry = found.sum("haven_certificate_expiry_timestamp_seconds", &labels);
            let left = (expiry.unwrap() - chrono::Utc::now().timestamp() as f64) / 86400.0;
            assert!(left > 13.0 && left <= days, "{certificate}: {left} days");
        }
        for task in tasks {
            let rounds = async |outcome: &str| {
                let labels = [("task", task), ("outcome", outcome)];
                page(service).await.sum("haven_task_rounds_total", &labels)
            };
            eventually(task, async || rounds("ok").await >= Some(1.0)).await;
            assert!(rounds("failed").await.is_some(), "{task}");
        }
        // An event that creates its series would not be seen by `increase`.
        for counter in [
            "haven_rpc_shed_total",
            "haven_answers_unread_total",
            "haven_connections_refused_total",
            "haven_connections_closed_total",
            "haven_panics_total",
            "haven_tls_handshakes_failed_total",
        ] {
            assert!(found.sum(counter, &[]).is_some(), "{counter}");
        }
    }
    let keys = "haven.identity.v1.SessionService/GetSigningKeys";
    let mut retry = tonic::Request::new(GetSigningKeysRequest {});
    retry
        .metadata_mut()
        .insert("grpc-previous-rpc-attempts", "1".parse().unwrap());
    let anonymous = stack.anonymous().unwrap();
    anonymous.session().get_signing_keys(retry).await.unwrap();
    let first = GetSigningKeysRequest {};
    anonymous.session().get_signing_keys(first).await.unwrap();
    let counted = page(&stack.identity).await;
    assert_eq!(
        counted.sum("haven_rpc_retries_total", &[("rpc", keys)]),
        Some(1.0)
    );
}

#[tokio::test]
async fn a_task_without_its_database_fails_and_the_service_is_not_ready() {
    let mut stack = Stack::builder().own_cluster().start().await.unwrap();
    stack.cluster().unwrap().kill();
    let failed = [("task", "outbox"), ("outcome", "failed")];
    eventually("the rounds fail, and the service is not ready", async || {
        let page = page(&stack.identity).await;
        page.sum("haven_task_rounds_total", &failed) > Some(0.0) && page.sum("haven_ready", &[]) == Some(0.0)
    })
    .await;
}

#[tokio::test]
async fn used_connections_are_counted_while_calls_hold_them() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let used = async || {
        page(&stack.data)
            .await
            .sum("haven_db_connections", &[("pool", "app"), ("state", "used")])
    };
    for service in [&stack.identity, &stack.data] {
        for pool in ["app", "worker"] {
            let found = page(service).await;
            assert!(
                found
                    .sum("haven_db_connections_max", &[("pool", pool)])
                    .is_some_and(|max| max >= 1.0)
            );
            assert!(
                found
                    .sum("haven_db_connections", &[("pool", pool), ("state", "idle")])
                    .is_some()
            );
        }
    }
    let mut superuser = stack.database.connect("postgres").await.unwrap();
    let mut locked = superuser.begin().await.unwrap();
    sqlx::query("LOCK TABLE data.conversations IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *locked)
        .await
        .unwrap();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let mut conversation = stack.user(&ada).unwrap().conversation();
            tokio::spawn(async move { conversation.list_messages(ListMessagesRequest::default()).await })
        })
        .collect();
    eventually("three connections in use", async || used().await >= Some(3.0)).await;
    let in_flight = page(&stack.data).await.sum("haven_rpc_in_flight", &[]);
    assert!(in_flight >= Some(3.0), "{in_flight:?}");
    locked.rollback().await.unwrap();
    for call in waiting {
        call.await.unwrap().unwrap();
    }
    eventually("the connections are idle again", async || {
        used().await == Some(0.0)
    })
    .await;
}

#[tokio::test]
async fn the_hash_queue_is_measured_during_many_sign_ups() {
    let stack = Stack::start().await.unwrap();
    let hashed = async || {
        page(&stack.identity)
            .await
            .sum("haven_hash_seconds_count", &[])
            .unwrap_or(0.0)
    };
    let before = hashed().await;
    let sign_ups: Vec<_> = (0..60)
        .map(|number| {
            let mut account = stack.anonymous().unwrap().account();
            let request = sign_up_request(&format!("person-{number}@example.org"), "Correct-Horse-7-Battery");
            tokio::spawn(async move { account.sign_up(request).await })
        })
        .collect();
    let (mut waited, mut ran) = (false, false);
    eventually("some hashes wait, and some run", async || {
        let page = page(&stack.identity).await;
        waited |= page.sum("haven_hash_queue_waiting", &[]) > Some(0.0);
        ran |= page.sum("haven_hash_running", &[]) > Some(0.0);
        waited && ran
    })
    .await;
    let mut succeeded = 0.0;
    for sign_up in sign_ups {
        succeeded += f64::from(sign_up.await.unwrap().is_ok());
    }
    assert!(
        hashed().await - before >= succeeded && succeeded > 0.0,
        "{succeeded}"
    );
    for gauge in ["haven_hash_queue_waiting", "haven_hash_running"] {
        // A hash is still computed when its caller has disconnected.
        eventually(gauge, async || {
            page(&stack.identity).await.sum(gauge, &[]) == Some(0.0)
        })
        .await;
    }
}

#[tokio::test]
async fn the_outbox_lag_grows_while_data_is_down() {
    let mut stack = Stack::start().await.unwrap();
    let port = stack.identity.listeners.metrics;
    let lag = async || {
        Metrics::read(port)
            .await
            .sum("haven_outbox_pending_oldest_seconds", &[])
    };
    assert_eq!(lag().await, Some(0.0));
    stack.data.kill();
    let request = sign_up_request("ada@example.org", "Correct-Horse-7-Battery");
    stack
        .anonymous()
        .unwrap()
        .account()
        .sign_up(request)
        .await
        .unwrap();
    eventually("the lag grows", async || lag().await > Some(1.0)).await;
    stack.data.start().await.unwrap();
    eventually("the lag is zero", async || lag().await == Some(0.0)).await;
    let delivered = [("outcome", "OK")];
    let page = Metrics::read(port).await;
    assert!(page.sum("haven_outbox_deliveries_total", &delivered) >= Some(1.0));
    let failed = [("outcome", "DEPENDENCY_UNAVAILABLE")];
    assert!(
        page.sum("haven_outbox_deliveries_total", &failed) >= Some(1.0),
        "{}",
        page.page
    );
}
