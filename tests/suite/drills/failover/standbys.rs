//! Every standby is away: a commit waits for one, past every time limit of Postgres, and is neither confirmed nor refused.

use std::{sync::Mutex, time::Duration};

use futures_util::future::join_all;
use haven_proto::data::v1::{AppendMessageRequest, AppendMessageResponse, SenderType};
use haven_testkit::{
    Client, Stack,
    failover::{Fault, NODES},
    random,
};
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};

use crate::eventually::{eventually, within};

/// The size of data's request pool.
pub(super) const POOL_SIZE: i64 = 8;

/// The number of callers.
const CALLERS: usize = 24;

/// The deadline of each call, and of its statements in Postgres.
const DEADLINE: Duration = Duration::from_millis(1500);

/// The time for which the standbys are away: longer than the lease of the leader, in which it must stay the leader, and than the
/// service keeps a waiting commit in its pool.
const AWAY: Duration = Duration::from_secs(25);

/// The time in which Patroni brings a killed standby back.
const RETURN: Duration = Duration::from_secs(90);

/// Backends of data's people that wait for a standby.
const WAITING: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE usename = 'data_app' AND wait_event = 'SyncRep'";

fn message() -> AppendMessageRequest {
    AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: random::uuid().to_string(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    }
}

async fn append(
    client: &Client,
    message: &AppendMessageRequest,
    timeout: Duration,
) -> Result<Response<AppendMessageResponse>, Status> {
    let mut request = Request::new(message.clone());
    request.set_timeout(timeout);
    client.conversation().append_message(request).await
}

/// Kills both standbys, lets people write, and brings the standbys back.
pub(super) async fn be_away(stack: &Stack) {
    let rig = stack.failover().unwrap();
    let leader = rig.complete().await.unwrap();
    // People of their own: the writes of one person wait for each other.
    let mut clients = Vec::new();
    for _ in 0..CALLERS {
        let person = stack.person().await.unwrap();
        let client = stack.user(&person).unwrap();
        eventually("data knows the person", async || {
            append(&client, &message(), DEADLINE).await.is_ok()
        })
        .await;
        clients.push(client);
    }
    let standbys = || (0..NODES).filter(|node| *node != leader);
    for standby in standbys() {
        rig.cause(Fault::Kill, standby).await.unwrap();
    }

    let (until, others) = (Instant::now() + AWAY, Mutex::new(Vec::new()));
    let calling = join_all(clients.iter().map(async |client| {
        let mut unknown = Vec::new();
        while Instant::now() < until {
            let message = message();
            let answer = append(client, &message, DEADLINE).await;
            // The client's own timer may fire before the answer arrives.
            match answer.map_or_else(|status| status.code(), |_| Code::Ok) {
                Code::DeadlineExceeded | Code::Cancelled => unknown.push(message),
                // No connection is free: the call has stored nothing.
                Code::Unavailable => tokio::time::sleep(Duration::from_millis(100)).await,
                answer => others.lock().unwrap().push(answer),
            }
        }
        unknown
    }));
    let counting = async {
        let mut superuser = rig.superuser(leader).await.unwrap();
        let mut most = 0;
        while Instant::now() < until {
            let waiting: i64 = sqlx::query_scalar(WAITING)
                .fetch_one(&mut superuser)
                .await
                .unwrap();
            most = most.max(waiting);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        most
    };
    let (unknown, most) = tokio::join!(calling, counting);
    let unknown: Vec<_> = clients
        .iter()
        .zip(unknown)
        .flat_map(|(client, messages)| messages.into_iter().map(move |message| (client, message)))
        .collect();
    assert_eq!(*others.lock().unwrap(), Vec::<Code>::new());
    assert!(!unknown.is_empty());
    assert!(
        (POOL_SIZE..=2 * POOL_SIZE).contains(&most),
        "{most} backends wait for a standby"
    );
    // A cancel would confirm the commits that wait: their rows would be visible.
    let mut superuser = rig.superuser(leader).await.unwrap();
    let stored = "SELECT count(*) FROM data.requests WHERE id = ANY($1)";
    let ids: Vec<uuid::Uuid> = unknown
        .iter()
        .map(|(_, sent)| sent.request_id.parse().unwrap())
        .collect();
    let visible: i64 = sqlx::query_scalar(stored)
        .bind(&ids)
        .fetch_one(&mut superuser)
        .await
        .unwrap();
    assert_eq!(visible, 0, "commits without a standby are visible");

    let back = Instant::now();
    for standby in standbys() {
        rig.mend(Fault::Kill, standby).await.unwrap();
    }
    within(
        RETURN,
        "a call succeeds after the standbys are back",
        async || append(&clients[0], &message(), DEADLINE).await.is_ok(),
    )
    .await;
    eprintln!(
        "standbys away for {AWAY:?}: {} calls of unknown outcome, at most {most} backends waited; calls succeed {:.1?} after \
         the standbys' return",
        unknown.len(),
        back.elapsed()
    );
    assert_eq!(rig.complete().await.unwrap(), leader, "the leader has changed");
    eventually("no commit waits", async || {
        let waiting: i64 = sqlx::query_scalar(WAITING)
            .fetch_one(&mut superuser)
            .await
            .unwrap();
        waiting == 0
    })
    .await;
    // A retry under the same request id finds out what became of a call, and stores nothing twice.
    for (client, message) in &unknown {
        append(client, message, Duration::from_secs(30)).await.unwrap();
    }
    let stored: i64 = sqlx::query_scalar(stored)
        .bind(&ids)
        .fetch_one(&mut superuser)
        .await
        .unwrap();
    assert_eq!(stored, unknown.len() as i64);
}
