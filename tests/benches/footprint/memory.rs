//! The memory of the services: idle, with many open connections, and with callers on them.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use haven_proto::{
    data::v1::{AppendMessageRequest, ListMessagesRequest, MessageOrder, SenderType},
    identity::v1::GetAccountRequest,
};
use haven_testkit::{Client, Person, random, service::Service};
use tonic_health::pb::HealthCheckRequest;

use super::measure::build::Build;

/// The time after which a service is idle.
const SETTLE: Duration = Duration::from_secs(3);
/// The interval at which memory is read while callers call.
const INTERVAL: Duration = Duration::from_millis(200);
/// The number of connections that are opened at the same time.
const OPENING: usize = 16;

/// The memory of a process in MB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// The resident set.
    pub(crate) rss: f64,
    /// The proportional set: pages that several processes share count in part.
    pub(crate) pss: f64,
    /// The anonymous part of it: without the pages of the program and of libraries, which the system can drop.
    pub(crate) anonymous: f64,
}

/// Reads the memory of a service.
pub(crate) fn read(service: &Service) -> Result<Memory> {
    let pid = service.pid().context("the service does not run")?;
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next());
        let kib: f64 = kib
            .with_context(|| format!("smaps_rollup has no {name}"))?
            .parse()?;
        anyhow::Ok(kib * 1024.0 / 1e6)
    };
    Ok(Memory {
        rss: field("Rss:")?,
        pss: field("Pss:")?,
        anonymous: field("Anonymous:")?,
    })
}

/// Returns the memory after a pause.
pub(crate) async fn settled(service: &Service) -> Result<Memory> {
    tokio::time::sleep(SETTLE).await;
    read(service)
}

/// Opens `count` connections to the service `name`, each with its own TLS session.
pub(crate) async fn connections(build: Build<'_>, name: &'static str, count: usize) -> Result<Vec<Client>> {
    let clients = stream::iter((0..count).map(|_| async {
        let client = build.anonymous()?;
        // The call connects; the connection stays open as long as the client exists.
        let check = client.health(name).check(HealthCheckRequest::default()).await;
        check.context("opening a connection: does `ulimit -n` allow so many?")?;
        anyhow::Ok(client)
    }));
    clients.buffer_unordered(OPENING).try_collect().await
}

/// Lets `callers` callers use all `connections` for the duration `turn`. Returns the largest memory of the meantime, and the
/// number of calls.
pub(crate) async fn under_load(
    service: &Service,
    connections: &[Client],
    people: &[Person],
    callers: usize,
    turn: Duration,
) -> Result<(Memory, usize)> {
    let identity = service.name == "identity";
    let callers: Vec<_> = (0..callers)
        .map(|number| {
            let clients: Vec<Client> = connections
                .iter()
                .skip(number)
                .step_by(callers)
                .cloned()
                .collect();
            let token = people[number % people.len()].token.clone();
            tokio::spawn(async move {
                let (begin, mut calls) = (tokio::time::Instant::now(), 0);
                while begin.elapsed() < turn {
                    let client = clients[calls % clients.len()].with_token(&token)?;
                    if identity {
                        client.account().get_account(GetAccountRequest::default()).await?;
                    } else {
                        write_and_read(&client).await?;
                    }
                    calls += 1;
                }
                anyhow::Ok(calls)
            })
        })
        .collect();
    let (mut most, mut calls) = (Memory::default(), 0);
    while !callers.iter().all(|caller| caller.is_finished()) {
        let memory = read(service)?;
        most.rss = most.rss.max(memory.rss);
        most.pss = most.pss.max(memory.pss);
        most.anonymous = most.anonymous.max(memory.anonymous);
        tokio::time::sleep(INTERVAL).await;
    }
    for caller in callers {
        calls += caller.await??;
    }
    Ok((most, calls))
}

/// Appends a message, and lists the newest page.
async fn write_and_read(client: &Client) -> Result<()> {
    let message = AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: "I asked a question in front of everybody today.".to_owned(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    };
    client.conversation().append_message(message).await?;
    let page = ListMessagesRequest {
        page_size: 20,
        order: MessageOrder::NewestFirst.into(),
        ..ListMessagesRequest::default()
    };
    client.conversation().list_messages(page).await?;
    Ok(())
}
