//! The services of this build, and of another one on the same database.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use haven_testkit::{Client, Stack, environment::Listeners, port::Port, service::Service};

use super::{cpu::Meter, options::Options};

/// The variable with the direct connection of the data service, on which it hears of new jobs at once.
pub(crate) const LISTEN: &str = "LISTEN_DATABASE_URL";

/// The installation that is measured, and the services of another build, if any. Both use the database in turns.
pub(crate) struct Builds {
    /// The services of this build, and the database.
    pub(crate) stack: Stack,
    other: Option<Other>,
}

/// The services of another build.
struct Other {
    identity: Service,
    data: Service,
    _ports: Vec<Port>,
}

/// The services of one build.
#[derive(Clone, Copy)]
pub(crate) struct Build<'a> {
    /// `this build` or `other build`.
    pub(crate) name: &'static str,
    pub(crate) stack: &'a Stack,
    pub(crate) identity: &'a Service,
    pub(crate) data: &'a Service,
}

impl Builds {
    /// Adds the services of the other build of `options`, if any, to `stack`. Both builds have the same configuration. The
    /// other one must accept the schema of this one, as a replica does during an upgrade.
    pub(crate) async fn start(mut stack: Stack, options: &Options) -> Result<Self> {
        if options.listen {
            let url = listen_url(&stack);
            stack.data.stop();
            stack.data.variables.insert(LISTEN.to_owned(), url);
            stack.data.start().await?;
        }
        let other = match &options.against {
            Some(folder) => Some(
                Other::start(&stack, folder)
                    .await
                    .context("the other build does not start")?,
            ),
            None => None,
        };
        Ok(Self { stack, other })
    }

    /// Returns this build, and the other one, if any.
    pub(crate) fn all(&self) -> Vec<Build<'_>> {
        let build = |name, identity, data| Build {
            name,
            stack: &self.stack,
            identity,
            data,
        };
        let this = build("this build", &self.stack.identity, &self.stack.data);
        let other = self.other.as_ref();
        let other = other.map(|other| build("other build", &other.identity, &other.data));
        [Some(this), other].into_iter().flatten().collect()
    }
}

impl Other {
    async fn start(stack: &Stack, folder: &Path) -> Result<Self> {
        let ports: Vec<Port> = (0..6).map(|_| Port::reserve()).collect::<Result<_>>()?;
        let (mut identity, mut data) = (
            like(&stack.identity, folder, &ports[..3], "other")?,
            like(&stack.data, folder, &ports[3..], "other")?,
        );
        let url = |service: &Service| format!("https://localhost:{}", service.listeners.api);
        let journal = identity.log().with_extension("erasures.jsonl");
        let address = url(&data);
        let variables = [
            ("DATA_URL", address),
            ("ERASURE_JOURNAL", journal.display().to_string()),
        ];
        identity
            .variables
            .extend(variables.map(|(name, value)| (name.to_owned(), value)));
        data.variables.insert("IDENTITY_URL".to_owned(), url(&identity));
        identity.launch()?;
        data.launch()?;
        identity.ready().await?;
        data.ready().await?;
        Ok(Self {
            identity,
            data,
            _ports: ports,
        })
    }
}

/// Returns the value of [`LISTEN`].
pub(crate) fn listen_url(stack: &Stack) -> String {
    stack.database.url("data_worker")
}

/// Returns a service with the configuration of `original`, and the program of the same name in `folder`. It is not
/// started. `ports` are the API, health and metrics port. The name of its log begins with `log`.
pub(crate) fn like(original: &Service, folder: &Path, ports: &[Port], log: &str) -> Result<Service> {
    let program = folder.join(original.name);
    ensure!(program.is_file(), "{} does not exist", program.display());
    let listeners = Listeners {
        api: ports[0].number(),
        health: ports[1].number(),
        metrics: ports[2].number(),
    };
    let mut variables = original.variables.clone();
    for (name, port) in [
        ("API_ADDR", listeners.api),
        ("HEALTH_ADDR", listeners.health),
        ("METRICS_ADDR", listeners.metrics),
    ] {
        variables.insert(name.to_owned(), format!("127.0.0.1:{port}"));
    }
    let log = original
        .log()
        .with_file_name(format!("{log}-{}.log", original.name));
    Ok(Service::new(original.name, &program, listeners, variables, &log))
}

impl Build<'_> {
    /// Returns a client without an identity, which connects on the first call.
    pub(crate) fn anonymous(&self) -> Result<Client> {
        self.client(None)
    }

    /// Returns a client with the certificate of the service `name`.
    pub(crate) fn service(&self, name: &str) -> Result<Client> {
        self.client(Some(name))
    }

    /// Returns a meter of the data service and Postgres.
    pub(crate) fn data_meter(&self) -> Result<Meter> {
        Meter::new(self.stack, &[self.data])
    }

    fn client(&self, service: Option<&str>) -> Result<Client> {
        Client::new(
            &self.stack.certificates,
            service,
            self.identity.listeners,
            self.data.listeners,
        )
    }
}
