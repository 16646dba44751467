//! The attacks, each by one caller in one network; the watches and the shares by people who signed up for it.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use futures_util::future::join_all;
use haven_proto::{
    data::v1::{DevicePlatform, RegisterDeviceRequest, WatchChangesRequest},
    identity::v1::{CheckPasswordRequest, SignInRequest},
};
use haven_testkit::{Client, Stack, certificates::Certificates, random};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use crate::{
    connection::{ADDRESS, Connection, tcp, tls},
    crowd::Crowd,
    person::share,
    raw_socket::{PREFACE, frame, kind},
};

/// An empty gRPC message: no compression, length 0.
const EMPTY: &[u8] = &[0; 5];

/// The people who hoard watches.
const HOARDERS: usize = 6;

/// An attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    /// Connections without a window: 200 GetPasswordPolicy each, and 300 ListMessages of a signed-in person.
    UnreadAnswers,
    /// Requests with a body that arrives byte by byte, or not at all.
    SlowBodies,
    /// TCP connections with half a handshake, and TLS connections that send nothing.
    Handshakes,
    /// Six people who open as many watches as they get.
    Watches,
    /// 185 CheckPassword at the same time, of long passwords.
    CheckPassword,
    /// Requests that are cancelled as they are sent, as fast as possible.
    Resets,
    /// Wrong passwords for the accounts of all honest people.
    Guessing,
    /// 128 CreateShare with a passcode at the same time.
    Shares,
}

/// What the attacks are made with.
pub(crate) struct Target {
    certificates: Certificates,
    identity: u16,
    data: u16,
    emails: Vec<String>,
    anonymous: Client,
    people: Vec<(Client, String)>,
    devices: Vec<String>,
    made: AtomicU64,
}

impl Target {
    /// Signs the attacker's people up.
    pub(crate) async fn new(stack: &Stack, crowd: &Crowd) -> Result<Self> {
        let (mut people, mut devices) = (Vec::new(), Vec::new());
        for number in 0..HOARDERS {
            // Each from a network of their own, in which the limit of sign-ups is not reached.
            let client = stack.client_from([127, 0, 2, u8::try_from(number + 1)?].into())?;
            let person = client.invent().await?;
            let client = stack.client_from(ADDRESS.into())?.with_token(&person.token)?;
            devices.push(device(&client).await?);
            people.push((client, person.token));
        }
        Ok(Self {
            certificates: stack.certificates.clone(),
            identity: stack.identity.listeners.api,
            data: stack.data.listeners.api,
            emails: crowd.people.iter().map(|person| person.email.clone()).collect(),
            anonymous: stack.client_from(ADDRESS.into())?,
            people,
            devices,
            made: AtomicU64::new(0),
        })
    }

    fn count(&self) {
        self.made.fetch_add(1, Relaxed);
    }
}

/// Registers a device. data learns of a new person a moment later than identity.
async fn device(client: &Client) -> Result<String> {
    for _ in 0..50 {
        let request = RegisterDeviceRequest {
            device_id: String::new(),
            installation_id: random::uuid().to_string(),
            encrypted_master_key: vec![7; 64],
            key_derivation_path: "m".to_owned(),
            platform: DevicePlatform::Ios.into(),
            app_version: "1.0".to_owned(),
            request_id: random::uuid().to_string(),
            replace_device_id: String::new(),
            encrypted_label: Vec::new(),
        };
        if let Ok(response) = client.device().register_device(request).await {
            return Ok(response.into_inner().device.context("no device")?.device_id);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("the attacker's device is not registered after five seconds")
}

impl Attack {
    pub(crate) const ALL: [Self; 8] = [
        Self::UnreadAnswers,
        Self::SlowBodies,
        Self::Handshakes,
        Self::Watches,
        Self::CheckPassword,
        Self::Resets,
        Self::Guessing,
        Self::Shares,
    ];

    /// Returns the attack's name in the table and in `HAVEN_ATTACK`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::UnreadAnswers => "unread-answers",
            Self::SlowBodies => "slow-bodies",
            Self::Handshakes => "handshakes",
            Self::Watches => "watches",
            Self::CheckPassword => "check-password",
            Self::Resets => "resets",
            Self::Guessing => "guessing",
            Self::Shares => "shares",
        }
    }

    /// Attacks until `stop` is cancelled. Whatever the services close, the attacker opens again. Returns the number of its
    /// requests or connections.
    pub(crate) async fn run(self, target: Arc<Target>, stop: CancellationToken) -> Result<u64> {
        let before = target.made.load(Relaxed);
        match self {
            Self::UnreadAnswers => repeat(4, &target, &stop, unread_answers).await,
            Self::SlowBodies => repeat(4, &target, &stop, slow_bodies).await,
            Self::Handshakes => repeat(400, &target, &stop, handshake).await,
            Self::Watches => repeat(HOARDERS * 64, &target, &stop, watch).await,
            Self::CheckPassword => repeat(185, &target, &stop, check_password).await,
            Self::Resets => repeat(2, &target, &stop, resets).await,
            Self::Guessing => repeat(16, &target, &stop, guess).await,
            Self::Shares => repeat(128, &target, &stop, create_share).await,
        }
        Ok(target.made.load(Relaxed) - before)
    }
}

/// Runs `count` of the same at once, each again and again, until `stop` is cancelled. A failure waits a moment, because a
/// refused attacker would otherwise only compete for the cores of this machine.
async fn repeat<F>(
    count: usize,
    target: &Arc<Target>,
    stop: &CancellationToken,
    make: impl Fn(Arc<Target>, usize) -> F,
) where
    F: Future<Output = Result<()>>,
{
    let all = (0..count).map(|number| {
        let make = &make;
        stop.run_until_cancelled(async move {
            loop {
                if make(Arc::clone(target), number).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        })
    });
    join_all(all).await;
}

async fn unread_answers(target: Arc<Target>, number: usize) -> Result<()> {
    let (port, path, token, streams) = match number % 2 {
        0 => (
            target.identity,
            "/haven.identity.v1.AccountService/GetPasswordPolicy",
            None,
            200,
        ),
        _ => (
            target.data,
            "/haven.data.v1.ConversationService/ListMessages",
            Some(target.people[0].1.as_str()),
            300,
        ),
    };
    let mut connection = Connection::without_window(&target.certificates, port).await?;
    for _ in 0..streams {
        connection.request(path, token, Some(EMPTY)).await?;
        target.count();
    }
    loop {
        connection.stay(Duration::from_secs(60)).await?;
    }
}

async fn slow_bodies(target: Arc<Target>, number: usize) -> Result<()> {
    let (port, path, token) = match number % 2 {
        0 => (target.identity, "/haven.identity.v1.SessionService/SignIn", None),
        _ => (
            target.data,
            "/haven.data.v1.ConversationService/AppendMessage",
            Some(target.people[0].1.as_str()),
        ),
    };
    let mut connection = Connection::without_window(&target.certificates, port).await?;
    let mut streams = Vec::new();
    for _ in 0..200 {
        streams.push(connection.request(path, token, None).await?);
        target.count();
    }
    loop {
        for stream in streams.iter().step_by(2) {
            connection.send(&frame(kind::DATA, 0, *stream, &[0])).await?;
        }
        connection.stay(Duration::from_secs(1)).await?;
    }
}

async fn handshake(target: Arc<Target>, number: usize) -> Result<()> {
    let port = [target.identity, target.data][number % 2];
    target.count();
    if number % 4 < 2 {
        let mut socket = tcp(port).await?;
        // The start of a TLS record, which promises more.
        socket.write_all(&[22, 3, 1, 2, 0, 1]).await?;
        wait_for_the_end(socket).await
    } else {
        let mut stream = tls(&target.certificates, port).await?;
        stream.write_all(&PREFACE[..number % 20]).await?;
        stream.flush().await?;
        wait_for_the_end(stream).await
    }
}

/// Waits until the server closes the connection.
async fn wait_for_the_end(mut stream: impl tokio::io::AsyncRead + Unpin) -> Result<()> {
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    anyhow::bail!("closed")
}

async fn watch(target: Arc<Target>, number: usize) -> Result<()> {
    let (client, _) = &target.people[number % HOARDERS];
    let request = WatchChangesRequest {
        device_id: target.devices[number % HOARDERS].clone(),
        cursor: String::new(),
    };
    target.count();
    let mut watch = client.cycle().watch_changes(request).await?.into_inner();
    while watch.message().await?.is_some() {}
    anyhow::bail!("ended")
}

async fn check_password(target: Arc<Target>, _: usize) -> Result<()> {
    let request = CheckPasswordRequest {
        password: random_words(128),
        email: String::new(),
    };
    target.count();
    target.anonymous.account().check_password(request).await?;
    Ok(())
}

/// Returns text that a strength estimator has much to do with: random letters, digits and repetitions.
fn random_words(length: usize) -> String {
    const ALPHABET: &[u8] = b"aqwsxzaq1234567890password";
    (0..length)
        .map(|_| char::from(ALPHABET[rand::random_range(0..ALPHABET.len())]))
        .collect()
}

async fn resets(target: Arc<Target>, number: usize) -> Result<()> {
    let port = [target.identity, target.data][number % 2];
    let mut connection = Connection::without_window(&target.certificates, port).await?;
    loop {
        connection
            .cancelled("/haven.identity.v1.SessionService/GetSigningKeys", 100)
            .await?;
        for _ in 0..100 {
            target.count();
        }
        connection.stay(Duration::ZERO).await?;
    }
}

async fn guess(target: Arc<Target>, _: usize) -> Result<()> {
    let request = SignInRequest {
        email: target.emails[rand::random_range(0..target.emails.len())].clone(),
        password: format!("Wrong-{:x}", rand::random::<u64>()),
        request_id: random::uuid().to_string(),
        ..SignInRequest::default()
    };
    target.count();
    target.anonymous.session().sign_in(request).await?;
    Ok(())
}

async fn create_share(target: Arc<Target>, number: usize) -> Result<()> {
    let (client, _) = &target.people[number % HOARDERS];
    target.count();
    let request = share("correct-horse", random::uuid());
    client.share().create_share(request).await?;
    Ok(())
}
