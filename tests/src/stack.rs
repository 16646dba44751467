//! A whole Haven for one test: a database of its own, and both services as real processes over TLS.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let stack = haven_testkit::Stack::start().await?;
//! let ada = stack.person().await?;
//! stack.user(&ada)?.conversation().list_messages(haven_proto::data::v1::ListMessagesRequest::default()).await?;
//! # Ok(())
//! # }
//! ```

use std::{fs, path::Path};

use anyhow::Result;
use tokio::sync::OnceCell;

use crate::{
    binaries::Binaries,
    certificates::Certificates,
    client::{Client, Person},
    cluster::Cluster,
    environment::{Environment, Listeners},
    port::Port,
    proxy::Proxy,
    random,
    service::Service,
    template::{TestCluster, TestDatabase},
};

/// Both services, running. Dropping it kills them and drops their database.
pub struct Stack {
    /// The service identity.
    pub identity: Service,
    /// The service data.
    pub data: Service,
    /// The certificates of this stack alone: a test may replace them.
    pub certificates: Certificates,
    /// The database of this stack alone.
    pub database: TestDatabase,
    identity_proxy: Option<Proxy>,
    data_proxy: Option<Proxy>,
    own_cluster: Option<TestCluster>,
    _ports: Vec<Port>,
}

/// What is to be different about a stack.
#[derive(Default)]
pub struct Builder {
    variables: Vec<(&'static str, String, String)>,
    absent: Vec<&'static str>,
    counted: bool,
    own_cluster: bool,
    durable: bool,
}

// === impl Stack ===

impl Stack {
    /// Starts both services on a fresh database, and waits until they serve.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// The stack that tests without needs of their own share: they are different people on one database, as callers of a
    /// real installation are. It runs until the process ends.
    ///
    /// A test takes [`Stack::start`] instead when it looks at more than the people it signed up itself: the queue of
    /// analyses, ListAccounts, the watch of crisis events, rate limits, logs, metrics, or a table as a whole; and when it
    /// stops, pauses or configures a service, or changes what is stored beside the API.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Stack> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// For a stack that is different.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A caller whom nobody knows.
    pub fn anonymous(&self) -> Result<Client> {
        self.client(None)
    }

    /// A person, with the token that they signed in for.
    pub fn user(&self, person: &Person) -> Result<Client> {
        self.client(None)?.with_token(&person.token)
    }

    /// A service, with the client certificate issued to it: `backend`, `identity`, `data` or `stranger`.
    pub fn service(&self, name: &str) -> Result<Client> {
        self.client(Some(name))
    }

    /// Signs an invented person up, and in.
    pub async fn person(&self) -> Result<Person> {
        self.anonymous()?.invent().await
    }

    /// The Postgres cluster, where it is this stack's own.
    pub fn cluster(&mut self) -> Option<&mut Cluster> {
        self.own_cluster.as_mut().map(|own| &mut own.cluster)
    }

    /// Round trips of the request pool of `identity` or `data` to Postgres so far. Zero unless the stack counts them.
    pub fn round_trips(&self, service: &str) -> u64 {
        let proxy = if service == "identity" {
            &self.identity_proxy
        } else {
            &self.data_proxy
        };
        proxy.as_ref().map_or(0, Proxy::round_trips)
    }

    fn client(&self, service: Option<&str>) -> Result<Client> {
        Client::new(
            &self.certificates,
            service,
            self.identity.listeners,
            self.data.listeners,
        )
    }
}

// === impl Builder ===

impl Builder {
    /// Sets a variable of `identity` or `data`, over what it would be.
    pub fn variable(mut self, service: &'static str, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((service, name.to_owned(), value.into()));
        self
    }

    /// Leaves `identity` or `data` unstarted.
    pub fn without(mut self, service: &'static str) -> Self {
        self.absent.push(service);
        self
    }

    /// Counts the round trips of the services' request pools to Postgres.
    pub fn counted(mut self) -> Self {
        self.counted = true;
        self
    }

    /// Takes a Postgres cluster of its own, so that the test can kill it.
    pub fn own_cluster(mut self) -> Self {
        self.own_cluster = true;
        self
    }

    /// Takes a Postgres cluster of its own that writes as durably as a real one.
    pub fn durable_cluster(mut self) -> Self {
        self.durable = true;
        self.own_cluster()
    }

    /// Starts the services that are not to be absent, and waits until they serve.
    pub async fn start(self) -> Result<Stack> {
        let binaries = Binaries::build()?;
        let own_cluster = if self.own_cluster {
            Some(TestCluster::own(self.durable).await?)
        } else {
            None
        };
        let cluster = match &own_cluster {
            Some(own) => own,
            None => TestCluster::shared().await?,
        };
        let database = cluster.database().await?;
        let directory = cluster
            .state
            .path()
            .join("stacks")
            .join(random::uuid().to_string());
        eprintln!("the services' logs are in {}", directory.display());
        let certificates = copy_certificates(cluster, &directory)?;
        let ports: Vec<Port> = (0..6).map(|_| Port::reserve()).collect::<Result<_>>()?;
        let listeners = |first: usize| Listeners {
            api: ports[first].number(),
            health: ports[first + 1].number(),
            metrics: ports[first + 2].number(),
        };
        let environment = Environment {
            database: &database,
            certificates: &certificates,
            secrets: &cluster.secrets,
            signing_key: &cluster.state.path().join("signing-key.pem"),
            identity: listeners(0),
            data: listeners(3),
        };
        let service = |name, listeners| {
            let log = directory.join(name).with_extension("log");
            Service::new(name, binaries.of(name), listeners, environment.of(name), &log)
        };
        let mut identity = service("identity", environment.identity);
        let mut data = service("data", environment.data);
        let identity_proxy = self.proxy(&database, &mut identity).await?;
        let data_proxy = self.proxy(&database, &mut data).await?;
        for service in [&mut identity, &mut data] {
            for (_, name, value) in self.variables.iter().filter(|(of, ..)| *of == service.name) {
                service.variables.insert(name.clone(), value.clone());
            }
            if !self.absent.contains(&service.name) {
                service.launch()?;
            }
        }
        for service in [&mut identity, &mut data] {
            if !self.absent.contains(&service.name) {
                service.ready().await?;
            }
        }
        Ok(Stack {
            identity,
            data,
            certificates,
            database,
            identity_proxy,
            data_proxy,
            own_cluster,
            _ports: ports,
        })
    }

    /// Puts a proxy before the request pool of `service`: its worker pool's rhythm would disturb the count.
    async fn proxy(&self, database: &TestDatabase, service: &mut Service) -> Result<Option<Proxy>> {
        if !self.counted {
            return Ok(None);
        }
        let proxy = Proxy::start(database.port).await?;
        let mut proxied = (**database).clone();
        proxied.port = proxy.port();
        service.variables.insert(
            "DATABASE_URL".to_owned(),
            proxied.url(&format!("{}_app", service.name)),
        );
        Ok(Some(proxy))
    }
}

fn copy_certificates(cluster: &TestCluster, directory: &Path) -> Result<Certificates> {
    let copy = directory.join("certificates");
    fs::create_dir_all(&copy)?;
    for entry in fs::read_dir(
        cluster
            .certificates
            .authority()
            .parent()
            .unwrap_or(Path::new("/")),
    )? {
        let entry = entry?;
        fs::copy(entry.path(), copy.join(entry.file_name()))?;
    }
    Certificates::keep(&copy)
}
