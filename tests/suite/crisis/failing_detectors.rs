//! Detectors that panic or hang: the message is stored in time without a finding, and the failure is counted and logged
//! without the message's text.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};

use haven_data::{
    crisis_detection::Detection,
    domain::{
        crisis::{CrisisDetector, Finding},
        key_ring::KeyRing,
    },
    notify::Notify,
    rpc::conversation::ConversationRpc,
    store::conversation::Conversations,
};
use haven_platform::{
    call::{Call, Caller, User, UserId},
    config::{LogFormat, Telemetry},
    database::{Database, DatabaseConfig, Pooler},
    deadline::Deadline,
    entropy::Entropy,
    mac::{MacKeys, SecretKeys},
    metrics_page,
    network::NetworkSource,
    page::PageTokens,
    telemetry,
    time::Clock,
};
use haven_proto::data::v1::{
    AppendMessageRequest, AppendMessageResponse, SenderType, conversation_service_server::ConversationService,
};
use haven_testkit::{port::Port, random, template::TestCluster};
use tonic::Request;
use uuid::Uuid;

use crate::{
    eventually::eventually,
    leaks::canary::{Allowed, Flock, Haystack},
    metrics::Metrics,
    superuser_sql::{execute, scalar},
};

/// Variables of the child process of the test below: the text, the person, and the database URLs of both logins.
const TEXT: &str = "HAVEN_TEST_TEXT";
const PERSON: &str = "HAVEN_TEST_PERSON";
const URLS: [&str; 2] = ["HAVEN_TEST_APP_URL", "HAVEN_TEST_WORKER_URL"];

/// The number of messages for each kind of detector: more than may be examined at once.
const MESSAGES: usize = 8;

/// The number of texts that are examined at once.
const SLOTS: f64 = 4.0;

#[tokio::test]
async fn messages_are_stored_when_the_detector_panics_or_hangs() {
    let database = TestCluster::shared().await.unwrap().database().await.unwrap();
    let person = random::uuid();
    let insert =
        format!("INSERT INTO data.users (id, created_at, last_active_at) VALUES ('{person}', now(), now())");
    execute(&database, &insert).await;
    let flock = Flock::default();
    let canary = flock.canary("the text of a detector's panic");
    // The service runs in a process of its own, because metrics, telemetry and the panic hook are global.
    let mut child = Command::new("/proc/self/exe");
    child
        .args([
            "--exact",
            "crisis::failing_detectors::appending",
            "--ignored",
            "--nocapture",
        ])
        .env(TEXT, canary.text())
        .env(PERSON, person.to_string())
        .env(URLS[0], database.url("data_app"))
        .env(URLS[1], database.url("data_worker"));
    let child = tokio::task::spawn_blocking(move || child.output())
        .await
        .unwrap()
        .unwrap();
    let output = format!(
        "{}{}",
        String::from_utf8_lossy(&child.stdout),
        String::from_utf8_lossy(&child.stderr)
    );
    assert!(child.status.success(), "{output}");
    let stored: i64 = scalar(&database, "SELECT count(*) FROM data.conversations").await;
    assert_eq!(stored, 2 * MESSAGES as i64);
    let found: i64 = scalar(&database, "SELECT count(*) FROM data.crisis_events").await;
    assert_eq!(found, 0);

    let lines: Vec<serde_json::Value> = output
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    // Each of the two detectors causes one warning, and not one for each message.
    let warned: Vec<_> = lines.iter().filter(|line| line["outcome"].is_string()).collect();
    assert_eq!(warned.len(), 2, "{output}");
    assert!(warned.iter().all(|line| line["level"] == "WARN"), "{output}");
    let panicked = lines.iter().filter(|line| line["message"] == "panicked");
    assert!(panicked.count() >= 1, "{output}");
    let location = flock.given("the panic's location", Allowed::Nowhere, "failing_detectors.rs:");
    let (output, person) = (
        Haystack::new(output),
        flock.given("the person", Allowed::Nowhere, &person.to_string()),
    );
    assert!(location.found(&output).is_some());
    assert_eq!((canary.found(&output), person.found(&output)), (None, None));
}

struct Panics;

impl CrisisDetector for Panics {
    fn detect(&self, text: &str) -> Option<Finding> {
        panic!("what a person wrote: {text}")
    }
}

/// Hangs until the channel is closed.
struct Hangs(Mutex<mpsc::Receiver<()>>);

impl CrisisDetector for Hangs {
    fn detect(&self, _: &str) -> Option<Finding> {
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).recv();
        None
    }
}

/// Returns the handlers of ConversationService, without a server.
fn data(detector: Arc<dyn CrisisDetector>) -> ConversationRpc {
    let secret = SecretKeys::one([7; 32]);
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned();
    let [app_url, worker_url] = URLS.map(|name| env::var(name).unwrap().into());
    let database = Database::new(&DatabaseConfig {
        schema: "data",
        app_url,
        worker_url,
        app_connections: 2,
        worker_connections: 1,
        pooler: Pooler::Session,
    });
    let database = Arc::new(database.unwrap());
    ConversationRpc {
        conversations: Conversations::new(database),
        detection: Detection::new(detector),
        keys: Arc::new(KeyRing::new(&[("k1".to_owned(), key.into())]).unwrap()),
        new_jobs: Notify::default(),
        new_crisis_events: Notify::default(),
        requests: MacKeys::derive(&secret, "data requests"),
        pages: PageTokens::new(MacKeys::derive(&secret, "data page tokens")),
        clock: Clock::system(),
        entropy: Entropy::system(),
    }
}

/// Appends [`MESSAGES`] messages that `detector` examines. Returns the time that each took.
async fn append_all(detector: Arc<dyn CrisisDetector>) -> Vec<Duration> {
    let data = data(detector);
    let mut took = Vec::new();
    for number in 1..=MESSAGES {
        let began = Instant::now();
        let appended = append(&data).await;
        took.push(began.elapsed());
        // The first call connects to the database.
        let limit = Duration::from_millis(if number == 1 { 5_000 } else { 900 });
        assert!(began.elapsed() < limit, "{took:?}");
        assert!(appended.message.is_some() && appended.crisis.is_none());
    }
    took
}

/// Returns the number of texts that are being examined, from the metrics page.
async fn running(port: u16) -> Option<f64> {
    let metrics = Metrics::read(port).await;
    metrics.sum("haven_crisis_detections_running", &[])
}

async fn append(data: &ConversationRpc) -> AppendMessageResponse {
    let mut request = Request::new(AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: format!("I want to kill myself, {}", env::var(TEXT).unwrap()),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    });
    let user = User {
        id: UserId::new(Uuid::try_parse(&env::var(PERSON).unwrap()).unwrap()),
        session_id: None,
        foreign: false,
        valid_until: None,
    };
    request.extensions_mut().insert(Call {
        caller: Caller {
            user: Some(user),
            ..Caller::default()
        },
        deadline: Deadline::after(Duration::from_secs(20)),
        network: None,
        network_source: NetworkSource::Client,
    });
    data.append_message(request).await.unwrap().into_inner()
}

#[tokio::test]
#[ignore = "started by the test above, in a process of its own"]
async fn appending() {
    let port = Port::reserve().unwrap().number();
    let _telemetry = telemetry::start(
        &Telemetry {
            format: LogFormat::Json,
            filter: "info".to_owned(),
            otlp_endpoint: None,
        },
        "data",
    )
    .unwrap();
    metrics_page::serve(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
    append_all(Arc::new(Panics)).await;
    let (release, released) = mpsc::channel();
    let took = append_all(Arc::new(Hangs(Mutex::new(released)))).await;
    // Each call waits the full 50 ms for the detector, so the shortest took that time and the time to store the message.
    let (shortest, limit) = (took.iter().min().unwrap(), Duration::from_millis(50));
    assert!((limit..limit * 3).contains(shortest), "{took:?}");
    assert_eq!(running(port).await, Some(SLOTS));
    drop(release);
    eventually("no text is being examined", async || {
        running(port).await == Some(0.0)
    })
    .await;

    let metrics = Metrics::read(port).await;
    let count = |outcome| metrics.sum("haven_crisis_detections_total", &[("outcome", outcome)]);
    assert_eq!((count("found"), count("clear")), (None, None));
    // On a busy machine a panic may come too late. Texts hang until all slots are taken, and the others are not
    // examined.
    let [panicked, slow, busy] =
        ["panicked", "slow", "busy"].map(|outcome| count(outcome).unwrap_or_default());
    assert!(
        panicked >= 1.0 && slow >= 1.0 && busy >= 1.0,
        "{panicked} panicked, {slow} slow, {busy} busy"
    );
    assert_eq!(panicked + slow + busy, 2.0 * MESSAGES as f64);
}
