//! Clients of both services.

use std::{fs, net::IpAddr};

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
        recovery_service_client::RecoveryServiceClient, session_service_client::SessionServiceClient,
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

/// The consents that a sign-up requires: document and version.
const DOCUMENTS: [(&str, &str); 2] = [("terms", "2026-01"), ("privacy", "2026-01")];

/// A connection that adds the caller's access token to each call.
pub type Connection = InterceptedService<Channel, Credential>;

/// Connections of one caller to both services, over TLS, with the caller's client certificate and access token, if any.
#[derive(Clone)]
pub struct Client {
    identity: Channel,
    data: Channel,
    credential: Credential,
}

/// The access token that is sent with each call, if any.
#[derive(Clone, Default)]
pub struct Credential(Option<MetadataValue<Ascii>>);

/// A user with an account and a session. It does not implement `Debug`, which would print the password and the tokens.
#[derive(Clone)]
pub struct Person {
    /// The user id, which is the `sub` of the access token.
    pub id: Uuid,
    /// The email address, as in the sign-up.
    pub email: String,
    /// The password of the account.
    pub password: String,
    /// An access token of the session.
    pub token: String,
    /// The id of the session.
    pub session_id: Uuid,
    /// The first refresh token of the session.
    pub refresh_token: String,
}

// === impl Client ===

impl Client {
    /// Creates a client without an access token, with the client certificate of `service`, if any. It connects on the
    /// first call.
    pub fn new(
        certificates: &Certificates,
        service: Option<&str>,
        identity: Listeners,
        data: Listeners,
    ) -> Result<Self> {
        Self::balanced(certificates, service, &[identity.api], &[data.api])
    }

    /// Creates the same client for services with several replicas: each call goes to one of the ports.
    pub fn balanced(
        certificates: &Certificates,
        service: Option<&str>,
        identity: &[u16],
        data: &[u16],
    ) -> Result<Self> {
        Ok(Self {
            identity: channel(certificates, service, identity)?,
            data: channel(certificates, service, data)?,
            credential: Credential::default(),
        })
    }

    /// Creates a client without an identity, with connections from `address`, which is on loopback.
    pub fn from_address(
        certificates: &Certificates,
        address: IpAddr,
        identity: Listeners,
        data: Listeners,
    ) -> Result<Self> {
        let channel = |port| -> Result<Channel> {
            let endpoint = endpoint(certificates, None, port)?;
            Ok(endpoint.local_address(Some(address)).connect_lazy())
        };
        Ok(Self {
            identity: channel(identity.api)?,
            data: channel(data.api)?,
            credential: Credential::default(),
        })
    }

    /// Returns a client with the access token `token`. The token is not validated, because tests send invalid ones.
    pub fn with_token(&self, token: &str) -> Result<Self> {
        let value = format!("Bearer {token}")
            .parse()
            .context("the token is not valid metadata")?;
        Ok(Self {
            credential: Credential(Some(value)),
            ..self.clone()
        })
    }

    /// Returns a client of `haven.identity.v1.AccountService`.
    pub fn account(&self) -> AccountServiceClient<Connection> {
        AccountServiceClient::new(self.connection("identity"))
    }

    /// Returns a client of `haven.identity.v1.RecoveryService`.
    pub fn recovery(&self) -> RecoveryServiceClient<Connection> {
        RecoveryServiceClient::new(self.connection("identity"))
    }

    /// Returns a client of `haven.identity.v1.SessionService`.
    pub fn session(&self) -> SessionServiceClient<Connection> {
        SessionServiceClient::new(self.connection("identity"))
    }

    /// Returns a client of `haven.data.v1.ConversationService`.
    pub fn conversation(&self) -> ConversationServiceClient<Connection> {
        ConversationServiceClient::new(self.connection("data"))
    }

    /// Returns a client of `haven.data.v1.AnalysisService`.
    pub fn analysis(&self) -> AnalysisServiceClient<Connection> {
        AnalysisServiceClient::new(self.connection("data"))
    }

    /// Returns a client of `haven.data.v1.AnalysisQueueService`.
    pub fn queue(&self) -> AnalysisQueueServiceClient<Connection> {
        AnalysisQueueServiceClient::new(self.connection("data"))
    }

    /// Returns a client of `haven.data.v1.CrisisService`.
    pub fn crisis(&self) -> CrisisServiceClient<Connection> {
        CrisisServiceClient::new(self.connection("data"))
    }

    /// Returns a client of `haven.data.v1.CycleService`.
    pub fn cycle(&self) -> CycleServiceClient<Connection> {
        CycleServiceClient::new(self.connection("data"))
    }

    /// Returns a client of `haven.data.v1.PreferencesService`.
    pub fn preferences(&self) -> PreferencesServiceClient<Connection> {
        PreferencesServiceClient::new(self.connection("data"))
    }

    /// Returns a client of `haven.data.v1.DeviceService`.
    pub fn device(&self) -> DeviceServiceClient<Connection> {
        DeviceServiceClient::new(self.connection("data"))
    }

    /// Returns a client of `haven.data.v1.ShareService`.
    pub fn share(&self) -> ShareServiceClient<Connection> {
        ShareServiceClient::new(self.connection("data"))
    }

    /// Returns a client of `haven.data.v1.PersonService`.
    pub fn person(&self) -> PersonServiceClient<Connection> {
        PersonServiceClient::new(self.connection("data"))
    }

    /// Returns a client of `grpc.health.v1.Health` on the API port of `identity` or `data`.
    pub fn health(&self, service: &str) -> HealthClient<Connection> {
        HealthClient::new(self.connection(service))
    }

    /// Returns the connection to `identity` or `data`, for any other client.
    pub fn connection(&self, service: &str) -> Connection {
        let channel = if service == "identity" {
            &self.identity
        } else {
            &self.data
        };
        InterceptedService::new(channel.clone(), self.credential.clone())
    }

    /// Signs up a user with a random email address and password, and signs in.
    pub async fn invent(&self) -> Result<Person> {
        let name = format!("{:x}", rand::random::<u64>());
        // A random password meets the policy.
        let password = format!("Aa1-{:x}", rand::random::<u128>());
        self.sign_up_and_in(&format!("person-{name}@example.org"), &password)
            .await
    }

    /// Signs up a user with all required consents and one goal, and signs in.
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
            ..SignInRequest::default()
        };
        let response = self
            .session()
            .sign_in(request)
            .await
            .context("SignIn")?
            .into_inner();
        Ok(Person {
            id: response.user_id.parse()?,
            email,
            password,
            token: response.access_token,
            session_id: response.session_id.parse()?,
            refresh_token: response.refresh_token,
        })
    }
}

/// Returns a valid sign-up with a new request id.
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

/// Returns a channel that spreads its calls over the `ports` of loopback. It connects on the first call.
///
/// # Errors
///
/// If the certificates cannot be read.
pub fn channel(certificates: &Certificates, service: Option<&str>, ports: &[u16]) -> Result<Channel> {
    let endpoints = ports
        .iter()
        .map(|port| endpoint(certificates, service, *port))
        .collect::<Result<Vec<Endpoint>>>()?;
    Ok(match endpoints.as_slice() {
        [one] => one.connect_lazy(),
        _ => Channel::balance_list(endpoints.into_iter()),
    })
}

fn endpoint(certificates: &Certificates, service: Option<&str>, port: u16) -> Result<Endpoint> {
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
    Ok(Endpoint::from_shared(format!("https://127.0.0.1:{port}"))?.tls_config(tls)?)
}
