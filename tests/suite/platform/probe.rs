//! Fixture: a server as every service builds it, with [`ProbeService`] behind it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use haven_platform::{
    allowed_services::AllowedServices,
    auth::{Claims, EndedSessions, KeySet, ROLE, TokenVerifier, VerifyingKey},
    call::Call,
    config::{AuthMode, Enforcement, Requests, TlsFiles},
    entropy::Entropy,
    failure::Failure,
    grpc_server,
    reason::Reason,
    server::{BuildError, ServerBuilder, ServerConfig},
    time::Clock,
    tls::Tls,
    trusted_proxies::TrustedProxies,
    web_origins::WebOrigins,
};
use haven_testkit::certificates::Certificates;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PublicKeyData};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use uuid::Uuid;

use self::proto::{
    probe_service_server::{ProbeService, ProbeServiceServer},
    undeclared_service_server::{UndeclaredService, UndeclaredServiceServer},
};

/// Generated stubs of the package `haven.testing.v1`.
#[allow(
    clippy::disallowed_methods,
    unreachable_pub,
    missing_docs,
    reason = "generated stubs are as they are"
)]
pub(crate) mod proto {
    tonic::include_proto!("haven.testing.v1");
}

/// Encoded descriptors of the package `haven.testing.v1`.
pub(crate) const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/testing.binpb"));

/// The services that a probe admits: `backend` has the scope of its RPCs, and `worker` and `identity` have others.
const ADMITTED: &str = "backend=accounts,forward;worker=analysis,forward;identity=provisioning,accounts";

/// The maximum number of streams of a kind that one person may have open at once, as both services configure it.
pub(crate) const STREAMS_PER_USER: usize = 12;

/// A running server with the RPCs of `haven.testing.v1`.
pub(crate) struct Probe {
    pub(crate) addr: SocketAddr,
    pub(crate) certificates: Certificates,
    pub(crate) stop: CancellationToken,
    pub(crate) served: JoinHandle<()>,
    /// Ended sessions: the server refuses their tokens.
    pub(crate) ended: Arc<EndedSessions>,
    /// Number of calls of Wait that have started.
    pub(crate) waits: Arc<AtomicUsize>,
    signing_key: EncodingKey,
    _directory: TempDir,
}

/// Returns the default limits of a probe.
pub(crate) fn requests() -> Requests {
    Requests {
        default_deadline: Duration::from_secs(10),
        max_in_flight: 512,
        max_connections: 2048,
        request_body_timeout: Duration::from_secs(5),
        max_request_bytes: 64 * 1024,
        drain_timeout: Duration::from_secs(5),
    }
}

impl Probe {
    /// Starts a server with the default limits.
    pub(crate) async fn start() -> Self {
        Self::start_with(requests()).await
    }

    /// Starts a server with other limits.
    pub(crate) async fn start_with(requests: Requests) -> Self {
        Self::start_for_web(requests, "").await
    }

    /// Starts a server for the pages of `origins`.
    pub(crate) async fn start_for_web(requests: Requests, origins: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let certificates = Certificates::keep(directory.path()).unwrap();
        let tls = tls(&certificates);
        let key = KeyPair::generate().unwrap();
        let keys = KeySet::empty();
        // An uncompressed point: the byte 4, then two coordinates.
        let point = key.der_bytes().to_vec();
        let coordinate = |range: std::ops::Range<usize>| {
            base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, &point[range])
        };
        keys.replace([
            VerifyingKey::from_coordinates("k1", &coordinate(1..33), &coordinate(33..65)).unwrap(),
        ]);
        let ended = Arc::new(EndedSessions::new());
        ended.replace([]);
        let verifier = TokenVerifier::new(
            "haven".into(),
            "authenticated",
            Arc::new(keys),
            Arc::clone(&ended),
            Clock::system(),
        );
        let answers = Answers::default();
        let waits = Arc::clone(&answers.waits);
        let mut config = config(requests, &tls, verifier);
        config.web_origins = WebOrigins::parse(origins).unwrap();
        let server = ServerBuilder::new(config, DESCRIPTORS)
            .compressed(&["haven.testing.v1.ProbeService/Pad"])
            .service(|limits| grpc_server!(ProbeServiceServer::new(answers), limits))
            .build()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        server.health().begin().await;
        server.health().alive().await;
        server.health().ready(true).await;
        tokio::spawn(tls.reload_on_change(stop.clone()));
        let serving = server.serve(listener, stop.clone());
        let served = tokio::spawn(async move { serving.await.unwrap() });
        Self {
            addr,
            certificates,
            stop,
            served,
            ended,
            waits,
            signing_key: EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).unwrap(),
            _directory: directory,
        }
    }

    /// Builds a server with an RPC without declared access.
    pub(crate) fn undeclared() -> Result<(), BuildError> {
        let directory = tempfile::tempdir().unwrap();
        let tls = tls(&Certificates::keep(directory.path()).unwrap());
        let (keys, ended) = (Arc::new(KeySet::empty()), Arc::new(EndedSessions::new()));
        let verifier = TokenVerifier::new("haven".into(), "authenticated", keys, ended, Clock::system());
        ServerBuilder::new(config(requests(), &tls, verifier), DESCRIPTORS)
            .service(|_| UndeclaredServiceServer::new(Answers::default()))
            .build()
            .map(drop)
    }

    /// Builds a server with an RPC whose answers must not be compressed: it admits anyone.
    pub(crate) fn compressed_for_anyone() -> Result<(), BuildError> {
        let directory = tempfile::tempdir().unwrap();
        let tls = tls(&Certificates::keep(directory.path()).unwrap());
        let (keys, ended) = (Arc::new(KeySet::empty()), Arc::new(EndedSessions::new()));
        let verifier = TokenVerifier::new("haven".into(), "authenticated", keys, ended, Clock::system());
        ServerBuilder::new(config(requests(), &tls, verifier), DESCRIPTORS)
            .compressed(&["haven.testing.v1.ProbeService/Wait"])
            .service(|limits| grpc_server!(ProbeServiceServer::new(Answers::default()), limits))
            .build()
            .map(drop)
    }

    /// Connects, with the client certificate of `service` if given.
    pub(crate) fn channel(&self, service: Option<&str>) -> Channel {
        self.endpoint(service).connect_lazy()
    }

    /// Returns a client without a certificate that connects from the address 127.0.0.`network`, a network of its own.
    pub(crate) fn client_from(
        &self,
        network: u8,
    ) -> proto::probe_service_client::ProbeServiceClient<Channel> {
        proto::probe_service_client::ProbeServiceClient::new(self.channel_from(network))
    }

    /// Returns a channel without a certificate that connects from the address 127.0.0.`network`, a network of its own.
    pub(crate) fn channel_from(&self, network: u8) -> Channel {
        let address = Ipv4Addr::new(127, 0, 0, network).into();
        self.endpoint(None).local_address(Some(address)).connect_lazy()
    }

    fn endpoint(&self, service: Option<&str>) -> Endpoint {
        let read = |path: PathBuf| std::fs::read(path).unwrap();
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(self.certificates.authority())))
            .domain_name("localhost");
        if let Some(service) = service {
            let leaf = self.certificates.leaf(service);
            tls = tls.identity(Identity::from_pem(read(leaf.certificate), read(leaf.key)));
        }
        Endpoint::from_shared(format!("https://{}", self.addr))
            .unwrap()
            .tls_config(tls)
            .unwrap()
    }

    /// Returns a client without a certificate.
    pub(crate) fn client(&self) -> proto::probe_service_client::ProbeServiceClient<Channel> {
        proto::probe_service_client::ProbeServiceClient::new(self.channel(None))
    }

    /// Returns a client with the certificate of an allowed service.
    pub(crate) fn service(&self) -> proto::probe_service_client::ProbeServiceClient<Channel> {
        proto::probe_service_client::ProbeServiceClient::new(self.channel(Some("backend")))
    }

    /// Returns the claims of a valid token.
    pub(crate) fn claims() -> Claims {
        let now = chrono::Utc::now().timestamp();
        Claims {
            iss: "haven".into(),
            aud: "authenticated".into(),
            sub: Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057),
            role: ROLE.into(),
            iat: now,
            exp: now + 900,
            session_id: Some(Uuid::from_u128(7)),
            unmet: Vec::new(),
        }
    }

    /// Signs `claims` as identity does.
    pub(crate) fn token(&self, claims: &impl serde::Serialize) -> String {
        let header = Header {
            kid: Some("k1".into()),
            ..Header::new(Algorithm::ES256)
        };
        self.sign(&header, claims)
    }

    /// Signs `claims` with any header.
    pub(crate) fn sign(&self, header: &Header, claims: &impl serde::Serialize) -> String {
        encode(header, claims, &self.signing_key).unwrap()
    }
}

/// Returns a request with a bearer token.
pub(crate) fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// Loads the server's certificate, and admits services.
fn tls(certificates: &Certificates) -> Arc<Tls> {
    let leaf = certificates.leaf("data");
    let files = TlsFiles {
        cert: leaf.certificate,
        key: leaf.key,
        ca: certificates.authority(),
        allowed_services: AllowedServices::parse(ADMITTED).unwrap(),
    };
    Arc::new(Tls::load(files).unwrap())
}

/// Returns the configuration of a probe.
fn config(requests: Requests, tls: &Arc<Tls>, verifier: TokenVerifier) -> ServerConfig {
    ServerConfig {
        trusted_proxies: TrustedProxies::default(),
        web_origins: WebOrigins::default(),
        requests,
        tls: Arc::clone(tls),
        verifier,
        auth_mode: AuthMode::Token,
        enforcement: Enforcement::Off,
        streams_per_user: STREAMS_PER_USER,
        clock: Clock::system(),
        entropy: Entropy::system(),
    }
}

/// Handlers of both testing services.
#[derive(Default)]
struct Answers {
    waits: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl UndeclaredService for Answers {
    async fn ask(&self, _: Request<proto::AskRequest>) -> Result<Response<proto::AskResponse>, Status> {
        Ok(Response::new(proto::AskResponse {}))
    }
}

/// Describes the caller: user id and service name.
fn caller<T>(request: &Request<T>) -> Result<String, Status> {
    let caller = Call::of(request)?.caller;
    let user = caller
        .user
        .map_or_else(|| "no user".into(), |user| user.id.to_string());
    let service = caller
        .service
        .map_or_else(|| "no service".into(), |name| name.as_str().to_owned());
    Ok(format!("{user}, {service}"))
}

#[tonic::async_trait]
impl ProbeService for Answers {
    async fn ask_as_anyone(
        &self,
        request: Request<proto::AskAsAnyoneRequest>,
    ) -> Result<Response<proto::AskAsAnyoneResponse>, Status> {
        Ok(Response::new(proto::AskAsAnyoneResponse {
            caller: caller(&request)?,
        }))
    }

    async fn ask_as_user(
        &self,
        request: Request<proto::AskAsUserRequest>,
    ) -> Result<Response<proto::AskAsUserResponse>, Status> {
        Ok(Response::new(proto::AskAsUserResponse {
            caller: caller(&request)?,
        }))
    }

    async fn ask_as_service(
        &self,
        request: Request<proto::AskAsServiceRequest>,
    ) -> Result<Response<proto::AskAsServiceResponse>, Status> {
        Ok(Response::new(proto::AskAsServiceResponse {
            caller: caller(&request)?,
        }))
    }

    async fn ask_as_user_or_service(
        &self,
        request: Request<proto::AskAsUserOrServiceRequest>,
    ) -> Result<Response<proto::AskAsUserOrServiceResponse>, Status> {
        Ok(Response::new(proto::AskAsUserOrServiceResponse {
            caller: caller(&request)?,
        }))
    }

    async fn fail(
        &self,
        request: Request<proto::FailRequest>,
    ) -> Result<Response<proto::FailResponse>, Status> {
        match Reason::try_from(request.get_ref().reason) {
            Ok(Reason::Unspecified) | Err(_) => panic!("the secret of a person"),
            Ok(reason) => Err(Failure::new(reason).because("what really happened").into()),
        }
    }

    async fn wait(
        &self,
        request: Request<proto::WaitRequest>,
    ) -> Result<Response<proto::WaitResponse>, Status> {
        let remaining = Call::of(&request)?.deadline.remaining();
        let wait = request.into_inner();
        self.waits.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(wait.millis.unsigned_abs())).await;
        Ok(Response::new(proto::WaitResponse {
            remaining_millis: i64::try_from(remaining.as_millis()).unwrap(),
            padding: vec![0; usize::try_from(wait.bytes).unwrap()],
        }))
    }

    async fn pad(&self, request: Request<proto::PadRequest>) -> Result<Response<proto::PadResponse>, Status> {
        let bytes = usize::try_from(request.get_ref().bytes).unwrap();
        Ok(Response::new(proto::PadResponse {
            zeros: vec![0; bytes],
        }))
    }

    type StreamStream = Pin<Box<dyn Stream<Item = Result<proto::StreamResponse, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<proto::StreamRequest>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let proto::StreamRequest { count, millis, panic } = request.into_inner();
        let pause = Duration::from_millis(millis.unsigned_abs());
        let end = if panic { count + 1 } else { count };
        let answers = tokio_stream::iter(0..end).then(move |number| async move {
            tokio::time::sleep(pause).await;
            assert!(number < count, "the secret of a person");
            Ok(proto::StreamResponse { number })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    type WatchNothingStream = Pin<Box<dyn Stream<Item = Result<proto::WatchNothingResponse, Status>> + Send>>;

    async fn watch_nothing(
        &self,
        _: Request<proto::WatchNothingRequest>,
    ) -> Result<Response<Self::WatchNothingStream>, Status> {
        let first = tokio_stream::once(Ok(proto::WatchNothingResponse {}));
        Ok(Response::new(Box::pin(first.chain(tokio_stream::pending()))))
    }
}
