//! An installation of Haven for tests: a database, and both services as processes with TLS.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let stack = haven_testkit::Stack::start().await?;
//! let ada = stack.person().await?;
//! stack.user(&ada)?.conversation().list_messages(haven_proto::data::v1::ListMessagesRequest::default()).await?;
//! # Ok(())
//! # }
//! ```

use std::{fs, net::IpAddr, path::Path};

use anyhow::Result;
use tokio::sync::OnceCell;

use crate::{
    binaries::Binaries,
    certificates::Certificates,
    client::{Client, Person},
    cluster::Cluster,
    endpoints::Endpoints,
    environment::{Environment, Listeners},
    failover::Failover,
    installation::Installation,
    package::Package,
    pgbouncer::PgBouncer,
    port::Port,
    proxy::Proxy,
    random,
    service::Service,
    template::{TestCluster, TestDatabase},
};

/// Both services and their database. Dropping it kills the services and drops the database.
pub struct Stack {
    /// The process of identity.
    pub identity: Service,
    /// The process of data.
    pub data: Service,
    /// The certificates of this stack. A test may replace them.
    pub certificates: Certificates,
    /// The database of this stack.
    pub database: TestDatabase,
    /// The connection pooler between the services and Postgres: see [`Builder::pooled`].
    pub pooler: Option<PgBouncer>,
    identity_proxy: Option<Proxy>,
    data_proxy: Option<Proxy>,
    own_cluster: Option<TestCluster>,
    failover: Option<Failover>,
    _ports: Vec<Port>,
}

/// The options of a stack.
#[derive(Default)]
pub struct Builder {
    variables: Vec<(&'static str, String, String)>,
    admitted: Vec<(&'static str, String)>,
    absent: Vec<&'static str>,
    default_limits: bool,
    counted: bool,
    counted_work: bool,
    listening: bool,
    freezable: bool,
    own_cluster: bool,
    durable: bool,
    production: Option<Installation>,
    pooled: Option<(Package, u32)>,
    cluster: Option<TestCluster>,
    failover: Option<Failover>,
}

// === impl Stack ===

impl Stack {
    /// Starts both services on a new database, and waits until they are ready.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// Returns the stack that tests share. Each test signs up its own users on it. It runs until the process ends.
    ///
    /// A test uses [`Stack::start`] instead if it depends on more than its own users: the queue of analyses,
    /// ListAccounts, the watch of crisis events, rate limits, logs, metrics, or a whole table; and if it stops, pauses
    /// or configures a service, or changes rows without the API.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Stack> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// Returns a builder for a stack with options.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns a client without an identity.
    pub fn anonymous(&self) -> Result<Client> {
        self.client(None)
    }

    /// Returns a client with the access token of `person`.
    pub fn user(&self, person: &Person) -> Result<Client> {
        self.client(None)?.with_token(&person.token)
    }

    /// Returns a client without an identity that calls from `address`, an address of loopback such as 127.0.0.2: a caller in
    /// another network.
    pub fn client_from(&self, address: IpAddr) -> Result<Client> {
        Client::from_address(
            &self.certificates,
            address,
            self.identity.listeners,
            self.data.listeners,
        )
    }

    /// Returns a client with the certificate of a service: `backend`, `worker`, `identity`, `data`, `stranger`, or
    /// one that [`Builder::admit`] added.
    pub fn service(&self, name: &str) -> Result<Client> {
        self.client(Some(name))
    }

    /// Returns the addresses of both services, and the certificates of their callers.
    pub fn endpoints(&self) -> Endpoints {
        Endpoints {
            certificates: self.certificates.clone(),
            identity: vec![self.identity.listeners.api],
            data: vec![self.data.listeners.api],
        }
    }

    /// Signs up a user with a random email address, and signs in.
    pub async fn person(&self) -> Result<Person> {
        self.anonymous()?.invent().await
    }

    /// Returns the Postgres cluster if this stack has its own, and otherwise `None`.
    pub fn cluster(&mut self) -> Option<&mut Cluster> {
        self.own_cluster.as_mut().map(|own| &mut own.cluster)
    }

    /// Returns the cluster with its secrets if this stack has its own, and otherwise `None`.
    pub fn own_cluster(&self) -> Option<&TestCluster> {
        self.own_cluster.as_ref()
    }

    /// Returns the nodes of Postgres if this stack runs on several, and otherwise `None`: see [`Builder::failover`].
    pub fn failover(&self) -> Option<&Failover> {
        self.failover.as_ref()
    }

    /// Returns the number of round trips of the request pool of `identity` or `data` to Postgres since the start, and of the
    /// worker pool where that is counted too. 0 unless the stack was built with [`Builder::counted`] or
    /// [`Builder::counted_work`].
    pub fn round_trips(&self, service: &str) -> u64 {
        let proxy = if service == "identity" {
            &self.identity_proxy
        } else {
            &self.data_proxy
        };
        proxy.as_ref().map_or(0, Proxy::round_trips)
    }

    /// Freezes the open connections of `identity` or `data` to Postgres: they stay open, and nothing arrives any more. The
    /// stack must be built with [`Builder::freezable`].
    pub fn freeze(&self, service: &str) {
        let proxy = if service == "identity" {
            &self.identity_proxy
        } else {
            &self.data_proxy
        };
        proxy.as_ref().into_iter().for_each(Proxy::freeze);
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
    /// Sets an environment variable of `identity` or `data`.
    pub fn variable(mut self, service: &'static str, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((service, name.to_owned(), value.into()));
        self
    }

    /// Lets pages of `origins`, such as `http://localhost:5173`, call both services from a browser: separated by commas.
    pub fn web_origins(self, origins: &str) -> Self {
        self.variable("identity", "WEB_ORIGINS", origins)
            .variable("data", "WEB_ORIGINS", origins)
    }

    /// Leaves the rate limits at the defaults of the services, which a test with many callers in one network would reach.
    pub fn default_limits(mut self) -> Self {
        self.default_limits = true;
        self
    }

    /// Lets `identity` or `data` admit a further service. `entry` is its entry in `ALLOWED_SERVICES`, such as
    /// `another=analysis`. The service gets a certificate.
    pub fn admit(mut self, service: &'static str, entry: impl Into<String>) -> Self {
        self.admitted.push((service, entry.into()));
        self
    }

    /// Does not start `identity` or `data`.
    pub fn without(mut self, service: &'static str) -> Self {
        self.absent.push(service);
        self
    }

    /// Counts the round trips of the services' request pools to Postgres.
    pub fn counted(mut self) -> Self {
        self.counted = true;
        self
    }

    /// Counts the round trips of both pools of the services to Postgres, those of periodic work included.
    pub fn counted_work(mut self) -> Self {
        self.counted_work = true;
        self
    }

    /// Lets the replicas of data tell each other of new jobs, on connections to Postgres itself.
    pub fn listening(mut self) -> Self {
        self.listening = true;
        self
    }

    /// Lets a test freeze the services' connections to Postgres: see [`Stack::freeze`].
    pub fn freezable(mut self) -> Self {
        self.freezable = true;
        self
    }

    /// Uses a separate Postgres cluster, which the test may kill.
    pub fn own_cluster(mut self) -> Self {
        self.own_cluster = true;
        self
    }

    /// Uses a separate Postgres cluster with `fsync`, as in production.
    pub fn durable_cluster(mut self) -> Self {
        self.durable = true;
        self.own_cluster()
    }

    /// Uses a separate Postgres cluster with the configuration files of production: see [`TestCluster::production`].
    pub fn production_cluster(mut self, installation: Installation) -> Self {
        self.production = Some(installation);
        self
    }

    /// Puts PgBouncer in transaction mode in front of all logins of both services, with at most `pool_size` connections to
    /// Postgres for each. `package` has its program. [`Stack::database`] still leads to Postgres itself.
    pub fn pooled(mut self, package: Package, pool_size: u32) -> Self {
        self.pooled = Some((package, pool_size));
        self
    }

    /// Uses `cluster`, which ends with the stack.
    pub fn on(mut self, cluster: TestCluster) -> Self {
        self.cluster = Some(cluster);
        self
    }

    /// Uses `failover`, through its HAProxy, which ends with the stack.
    pub fn failover(mut self, failover: Failover) -> Self {
        self.failover = Some(failover);
        self
    }

    /// Starts the services, and waits until they are ready.
    pub async fn start(mut self) -> Result<Stack> {
        let binaries = Binaries::build()?;
        let own_cluster = match (self.cluster.take(), &self.production) {
            (Some(cluster), _) => Some(cluster),
            (None, Some(installation)) => Some(TestCluster::production(installation.clone()).await?),
            (None, None) if self.own_cluster => Some(TestCluster::own(self.durable).await?),
            (None, None) => None,
        };
        let failover = self.failover.take();
        let (database, certificates, secrets, state) = if let Some(failover) = &failover {
            let database = TestDatabase::of_cluster(failover.haven());
            (
                database,
                &failover.certificates,
                &failover.secrets,
                &failover.state,
            )
        } else {
            let cluster = match &own_cluster {
                Some(own) => own,
                None => TestCluster::shared().await?,
            };
            let database = cluster.database().await?;
            (database, &cluster.certificates, &cluster.secrets, &cluster.state)
        };
        let directory = state.path().join("stacks").join(random::uuid().to_string());
        eprintln!("the services' logs are in {}", directory.display());
        let certificates = copy_certificates(certificates, &directory)?;
        let ports: Vec<Port> = (0..6).map(|_| Port::reserve()).collect::<Result<_>>()?;
        let listeners = |first: usize| Listeners {
            api: ports[first].number(),
            health: ports[first + 1].number(),
            metrics: ports[first + 2].number(),
        };
        let pooler = match &self.pooled {
            Some((package, size)) => Some(PgBouncer::start(
                package,
                &directory,
                &database,
                &certificates,
                *size,
            )?),
            None => None,
        };
        let reached = match &pooler {
            Some(pooler) => pooler.database(&database),
            None => (*database).clone(),
        };
        let environment = Environment {
            database: &reached,
            certificates: &certificates,
            secrets,
            signing_key: &state.path().join("signing-key.pem"),
            erasure_journal: &directory.join("erasures.jsonl"),
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
            if self.listening && service.name == "data" {
                let url = ("LISTEN_DATABASE_URL".to_owned(), database.url("data_worker"));
                service.variables.extend([url]);
            }
            if pooler.is_some() {
                let mode = ("DATABASE_POOLER".to_owned(), "transaction".to_owned());
                service.variables.extend([mode]);
            }
            if self.default_limits {
                let is_limit = |name: &str| name.ends_with("_LIMITS") || name.ends_with("_LIMIT");
                service.variables.retain(|name, _| !is_limit(name));
            }
            for (_, name, value) in self.variables.iter().filter(|(owner, ..)| *owner == service.name) {
                service.variables.insert(name.clone(), value.clone());
            }
            for (_, entry) in self.admitted.iter().filter(|(owner, _)| *owner == service.name) {
                let name = entry.rsplit_once('=').map_or(entry.as_str(), |(name, _)| name);
                if !certificates.leaf(name).certificate.exists() {
                    certificates.issue(name)?;
                }
                let all = service
                    .variables
                    .entry("ALLOWED_SERVICES".to_owned())
                    .or_default();
                *all = format!("{all};{entry}");
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
            pooler,
            identity_proxy,
            data_proxy,
            own_cluster,
            failover,
            _ports: ports,
        })
    }

    /// Puts a proxy in front of the request pool of `service`. Where round trips are counted, the worker pool bypasses it,
    /// because its periodic work would change the count.
    async fn proxy(&self, database: &TestDatabase, service: &mut Service) -> Result<Option<Proxy>> {
        if !self.counted && !self.counted_work && !self.freezable {
            return Ok(None);
        }
        let proxy = Proxy::start(database.port).await?;
        let mut proxied = (**database).clone();
        proxied.port = proxy.port();
        let mut through = vec![("DATABASE_URL", "app")];
        if self.freezable || self.counted_work {
            through.push(("WORKER_DATABASE_URL", "worker"));
        }
        for (variable, login) in through {
            let url = proxied.url(&format!("{}_{login}", service.name));
            service.variables.insert(variable.to_owned(), url);
        }
        Ok(Some(proxy))
    }
}

/// Copies the certificates of the cluster, so that a test can replace those of its stack.
fn copy_certificates(certificates: &Certificates, directory: &Path) -> Result<Certificates> {
    let copy = directory.join("certificates");
    fs::create_dir_all(&copy)?;
    for entry in fs::read_dir(certificates.authority().parent().unwrap_or(Path::new("/")))? {
        let entry = entry?;
        fs::copy(entry.path(), copy.join(entry.file_name()))?;
    }
    Certificates::keep(&copy)
}
