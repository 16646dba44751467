//! Clients of both services, typed by who calls.

use std::fs;

use anyhow::{Context, Result};
use haven_proto::{
    data::v1::{
        analysis_queue_service_client::AnalysisQueueServiceClient,
        analysis_service_client::AnalysisServiceClient,
        conversation_service_client::ConversationServiceClient, crisis_service_client::CrisisServiceClient,
        cycle_service_client::CycleServiceClient, device_service_client::DeviceServiceClient,
        person_service_client::PersonServiceClient, preferences_service_client::PreferencesServiceClient,
        share_service_client::ShareServiceClient,
    },
    identity::v1::{
        ConsentGrant, Goal, SignInRequest, SignUpRequest, account_service_client::AccountServiceClient,
        session_service_client::SessionServiceClient,
    },
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_health::pb::health_client::HealthClient;
use uuid::Uuid;

use crate::{certificates::Certificates, environment::Listeners, random};

/// The documents that a person has to agree to.
const DOCUMENTS: [(&str, &str); 2] = [("terms", "2026-01"), ("privacy", "2026-01")];

/// A connection that says on each call who calls.
pub type Connection = InterceptedService<Channel, Credential>;

/// Both services, as one caller sees them: over TLS, with the caller's certificate and token, if any.
#[derive(Clone)]
pub struct Client {
    identity: Channel,
    data: Channel,
    credential: Credential,
}

/// The token that goes along with each call.
#[derive(Clone, Default)]
pub struct Credential(Option<MetadataValue<Ascii>>);

/// Somebody with an account. There is no `Debug`: it would show a password and a token.
#[derive(Clone)]
pub struct Person {
    /// The person's id.
    pub id: Uuid,
    /// The email address, as signed up with.
    pub email: String,
    /// The password.
    pub password: String,
    /// An access token.
    pub token: String,
    /// The id of the token's session.
    pub session_id: Uuid,
    /// The session's first refresh token.
    pub refresh_token: String,
}

// === impl Client ===

impl Client {
    /// A caller without a token. `service` names the client certificate that it shows; `None`: it shows none. Connects
    /// when first used.
    pub fn new(
        certificates: &Certificates,
        service: Option<&str>,
        identity: Listeners,
        data: Listeners,
    ) -> Result<Self> {
        Ok(Self {
            identity: channel(certificates, service, identity.api)?,
            data: channel(certificates, service, data.api)?,
            credential: Credential::default(),
        })
    }

    /// The same caller with an access token, whatever it is: a test may send nonsense.
    pub fn with_token(&self, token: &str) -> Result<Self> {
        let value = format!("Bearer {token}")
            .parse()
            .context("a token that cannot be sent")?;
        Ok(Self {
            credential: Credential(Some(value)),
            ..self.clone()
        })
    }

    /// `haven.identity.v1.AccountService`.
    pub fn account(&self) -> AccountServiceClient<Connection> {
        AccountServiceClient::new(self.connection("identity"))
    }

    /// `haven.identity.v1.SessionService`.
    pub fn session(&self) -> SessionServiceClient<Connection> {
        SessionServiceClient::new(self.connection("identity"))
    }

    /// `haven.data.v1.ConversationService`.
    pub fn conversation(&self) -> ConversationServiceClient<Connection> {
        ConversationServiceClient::new(self.connection("data"))
    }

    /// `haven.data.v1.AnalysisService`.
    pub fn analysis(&self) -> AnalysisServiceClient<Connection> {
        AnalysisServiceClient::new(self.connection("data"))
    }

    /// `haven.data.v1.AnalysisQueueService`.
    pub fn queue(&self) -> AnalysisQueueServiceClient<Connection> {
        AnalysisQueueServiceClient::new(self.connection("data"))
    }

    /// `haven.data.v1.CrisisService`.
    pub fn crisis(&self) -> CrisisServiceClient<Connection> {
        CrisisServiceClient::new(self.connection("data"))
    }

    /// `haven.data.v1.CycleService`.
    pub fn cycle(&self) -> CycleServiceClient<Connection> {
        CycleServiceClient::new(self.connection("data"))
    }

    /// `haven.data.v1.PreferencesService`.
    pub fn preferences(&self) -> PreferencesServiceClient<Connection> {
        PreferencesServiceClient::new(self.connection("data"))
    }

    /// `haven.data.v1.DeviceService`.
    pub fn device(&self) -> DeviceServiceClient<Connection> {
        DeviceServiceClient::new(self.connection("data"))
    }

    /// `haven.data.v1.ShareService`.
    pub fn share(&self) -> ShareServiceClient<Connection> {
        ShareServiceClient::new(self.connection("data"))
    }

    /// `haven.data.v1.PersonService`.
    pub fn person(&self) -> PersonServiceClient<Connection> {
        PersonServiceClient::new(self.connection("data"))
    }

    /// `grpc.health.v1.Health` on the API port of `identity` or `data`.
    pub fn health(&self, service: &str) -> HealthClient<Connection> {
        HealthClient::new(self.connection(service))
    }

    /// The connection to `identity` or `data`, for any other client.
    pub fn connection(&self, service: &str) -> Connection {
        let channel = if service == "identity" {
            &self.identity
        } else {
            &self.data
        };
        InterceptedService::new(channel.clone(), self.credential.clone())
    }

    /// Signs an invented person up, and in.
    pub async fn invent(&self) -> Result<Person> {
        let name = format!("{:x}", rand::random::<u64>());
        // Random, and therefore nothing that the password policy could object to.
        let password = format!("Aa1-{:x}", rand::random::<u128>());
        self.sign_up_and_in(&format!("person-{name}@example.org"), &password)
            .await
    }

    /// Signs a person up, with every consent that is asked for and one goal, and in.
    pub async fn sign_up_and_in(&self, email: &str, password: &str) -> Result<Person> {
        self.account()
            .sign_up(sign_up_request(email, password))
            .await
            .context("SignUp")?;
        self.sign_in(email, password).await
    }

    /// Signs a person in.
    pub async fn sign_in(&self, email: &str, password: &str) -> Result<Person> {
        let (email, password) = (email.to_owned(), password.to_owned());
        let request = SignInRequest {
            email: email.clone(),
            password: password.clone(),
            request_id: random::uuid().to_string(),
        };
        let answer = self
            .session()
            .sign_in(request)
            .await
            .context("SignIn")?
            .into_inner();
        Ok(Person {
            id: answer.user_id.parse()?,
            email,
            password,
            token: answer.access_token,
            session_id: answer.session_id.parse()?,
            refresh_token: answer.refresh_token,
        })
    }
}

/// A sign-up that nothing is wrong with, under a new request id.
pub fn sign_up_request(email: &str, password: &str) -> SignUpRequest {
    let grant = |(document, version): (&str, &str)| ConsentGrant {
        document: document.to_owned(),
        document_version: version.to_owned(),
    };
    SignUpRequest {
        email: email.to_owned(),
        password: password.to_owned(),
        goals: vec![Goal::BuildConfidence.into()],
        consents: DOCUMENTS.map(grant).to_vec(),
        request_id: random::uuid().to_string(),
    }
}

// === impl Credential ===

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

fn channel(certificates: &Certificates, service: Option<&str>, port: u16) -> Result<Channel> {
    let authority = Certificate::from_pem(fs::read(certificates.authority())?);
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(authority)
        .domain_name("localhost");
    if let Some(service) = service {
        let leaf = certificates.leaf(service);
        tls = tls.identity(Identity::from_pem(
            fs::read(leaf.certificate)?,
            fs::read(leaf.key)?,
        ));
    }
    Ok(Endpoint::from_shared(format!("https://127.0.0.1:{port}"))?
        .tls_config(tls)?
        .connect_lazy())
}
