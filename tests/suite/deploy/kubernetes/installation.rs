//! The pods of both overlays, run as processes: the Job first, then the services, which are asked the pods' probes.

use anyhow::{Context, Result, ensure};
use haven_proto::data::v1::ListMessagesRequest;
use haven_testkit::{
    certificates::Certificates,
    client::Client,
    installation::Installation,
    service::{Service, health_channel},
};
use serde_json::Value;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{
    overlay::{NAMESPACE, OVERLAYS, Overlay, number, text},
    pod::{container, containers},
    postgres::Postgres,
    secret_store::SecretStore,
};
use crate::{
    deploy::manifest::{Container, Host},
    eventually::eventually,
};

/// What a new pod of the cluster has around it.
struct Surroundings {
    overlay: Overlay,
    store: SecretStore,
    host: Host,
    postgres: Postgres,
}

impl Surroundings {
    /// Starts a Postgres as the Cluster of `overlay` describes it, and makes the Secrets.
    async fn of(overlay: Overlay) -> Result<Self> {
        let mut postgres = Postgres::start().await?;
        let store = SecretStore::make(&overlay, &postgres.certificates)?;
        postgres.bootstrap(&overlay, &store).await?;
        let mut host = Host::new()?;
        for (service, port) in [("identity", 50051), ("data", 50052)] {
            host.reach(&format!("{service}.{NAMESPACE}.svc:{port}"), service, port)?;
        }
        let port = postgres.port();
        // The pooler's place is taken by Postgres itself: the suite has its own tests of poolers.
        for name in ["haven-pooler", "haven-postgres-rw"] {
            host.replace(
                &format!("{name}.{NAMESPACE}.svc:5432"),
                &format!("localhost:{port}"),
            );
        }
        // The same in libpq's form.
        host.replace(
            &format!("host=haven-postgres-rw.{NAMESPACE}.svc\nport=5432\n"),
            &format!("host=localhost\nport={port}\n"),
        );
        Ok(Self {
            overlay,
            store,
            host,
            postgres,
        })
    }

    /// Runs the containers of the Job one after the other, as the kubelet does.
    fn migrate(&self) -> Result<()> {
        let pod = self.overlay.pod("migrate")?;
        for description in containers(pod) {
            let name = format!("migrate-{}", text(description, "/name"));
            let container = container(&name, pod, description, &self.store)?;
            if container.command.first().is_some_and(|program| program == "psql") {
                let psql = Installation::require(|line| eprintln!("{line}"))?
                    .bin
                    .join("psql");
                self.host.succeed_as(&psql, &container)?;
            } else {
                self.host.succeed(&container)?;
            }
        }
        Ok(())
    }

    /// Returns the only container of a Deployment's pod.
    fn service(&self, name: &str) -> Result<Container> {
        service(&self.overlay, name, &self.store)
    }

    /// Waits until a probe of the service's pod succeeds, asking as the kubelet does. Fails when the process ends.
    async fn probe(&self, service: &mut Service, probe: &str) -> Result<()> {
        let description = &self.overlay.pod(service.name)?["spec"]["containers"][0][probe];
        let port = number(description, "/grpc/port").with_context(|| format!("no gRPC port in {probe}"))?;
        let mut client = HealthClient::new(health_channel(self.host.port(service.name, port)?)?);
        let request = HealthCheckRequest {
            service: text(description, "/grpc/service").to_owned(),
        };
        let mut ended = None;
        eventually(&format!("the {probe} of {} succeeds", service.name), async || {
            ended = service.failure();
            let answer = client.check(request.clone()).await;
            ended.is_some() || answer.is_ok_and(|answer| answer.get_ref().status() == ServingStatus::Serving)
        })
        .await;
        ended.map_or(Ok(()), Err)
    }
}

/// Returns the only container of a Deployment's pod.
fn service(overlay: &Overlay, name: &str, store: &SecretStore) -> Result<Container> {
    let pod = overlay.pod(name)?;
    let all: Vec<&Value> = containers(pod).collect();
    ensure!(all.len() == 1, "{name} has {} containers", all.len());
    container(name, pod, all[0], store)
}

async fn install(overlay: &str) -> Result<()> {
    let surroundings = Surroundings::of(Overlay::read(overlay)?).await?;
    surroundings.migrate()?;
    // Every upgrade runs the Job, also one without new migrations.
    surroundings.migrate()?;
    let mut identity = surroundings.host.serve(&surroundings.service("identity")?)?;
    let mut data = surroundings.host.serve(&surroundings.service("data")?)?;
    for service in [&mut identity, &mut data] {
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            surroundings.probe(service, probe).await?;
        }
    }
    let unused = surroundings.host.unused();
    ensure!(unused.is_empty(), "no container names {unused:?}");

    // Signing up makes identity call data, and a token makes data call identity.
    let certificates = &surroundings.postgres.certificates;
    let anonymous = Client::new(certificates, None, identity.listeners, data.listeners)?;
    let ada = anonymous.invent().await?;
    let mut conversation = anonymous.with_token(&ada.token)?.conversation();
    conversation.list_messages(ListMessagesRequest::default()).await?;
    ensure!(identity.stop() && data.stop(), "the services stop in time");
    Ok(())
}

#[tokio::test]
async fn the_production_overlay_installs_and_its_probes_succeed() -> Result<()> {
    install("production").await
}

#[tokio::test]
async fn the_development_overlay_installs_and_its_probes_succeed() -> Result<()> {
    install("development").await
}

/// Without a migrated schema a service is alive and not ready, so Kubernetes neither restarts it nor sends it calls.
#[tokio::test]
async fn a_service_waits_for_the_first_migration() -> Result<()> {
    let surroundings = Surroundings::of(Overlay::read("production")?).await?;
    let mut identity = surroundings.host.serve(&surroundings.service("identity")?)?;
    surroundings.probe(&mut identity, "startupProbe").await?;
    surroundings.probe(&mut identity, "livenessProbe").await?;
    surroundings.migrate()?;
    surroundings.probe(&mut identity, "readinessProbe").await
}

/// The variables of both services that `check-config` reports when they are missing.
const REQUIRED: [&str; 9] = [
    "TLS_CERT_FILE",
    "TLS_KEY_FILE",
    "TLS_CA_FILE",
    "SECRET_KEY_FILE",
    "DATABASE_URL_FILE",
    "WORKER_DATABASE_URL_FILE",
    "PEPPERS_FILE",
    "SIGNING_KEY_FILES",
    "MESSAGE_KEYS_FILE",
];

#[test]
fn a_variable_that_is_missing_or_unknown_fails() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let certificates = Certificates::keep(directory.path())?;
    let host = Host::new()?;
    let mut required = 0;
    for overlay in OVERLAYS {
        let overlay = Overlay::read(overlay)?;
        let store = SecretStore::make(&overlay, &certificates)?;
        for name in ["identity", "data"] {
            let container = service(&overlay, name, &store)?;
            let check = [name.to_owned(), "check-config".to_owned()];
            let output = host.probe(&container, &check)?;
            ensure!(
                output.status.success(),
                "{name}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            for (variable, _) in &container.env {
                let mut lacking = container.clone();
                lacking.env.retain(|(other, _)| other != variable);
                let output = host.probe(&lacking, &check)?;
                let code = output.status.code();
                if REQUIRED.contains(&variable.as_str()) {
                    assert_eq!(code, Some(64), "{name} without {variable}");
                    let plain = variable.trim_end_matches("_FILE");
                    let error = String::from_utf8_lossy(&output.stderr).into_owned();
                    ensure!(error.contains(plain), "{name} without {variable}: {error}");
                    required += 1;
                } else {
                    assert_eq!(code, Some(0), "{name} without {variable}");
                }
            }
            let mut unknown = container.clone();
            unknown.env.push(("DATABASE_POOL".to_owned(), "16".to_owned()));
            let error = host.probe(&unknown, &check).map(|_| ()).unwrap_err();
            ensure!(error.to_string().contains("DATABASE_POOL"), "{name}: {error:#}");
            let error = host.serve(&unknown).map(|_| ()).unwrap_err();
            ensure!(error.to_string().contains("DATABASE_POOL"), "{name}: {error:#}");
        }
    }
    // Eight of identity and seven of data, in each overlay.
    assert_eq!(required, 2 * (8 + 7));
    Ok(())
}

#[test]
fn a_port_that_is_not_declared_and_a_key_that_a_secret_lacks_fail() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let overlay = Overlay::read("production")?;
    let mut store = SecretStore::make(&overlay, &Certificates::keep(directory.path())?)?;
    let mut lacking = service(&overlay, "identity", &store)?;
    lacking.ports.remove(&50061);
    let error = Host::new()?.serve(&lacking).map(|_| ()).unwrap_err();
    ensure!(error.to_string().contains("declares the ports"), "{error:#}");

    let keys = store.secrets.get_mut("identity-keys").context("identity-keys")?;
    keys.remove("peppers").context("peppers")?;
    let container = service(&overlay, "identity", &store)?;
    let check = ["identity".to_owned(), "check-config".to_owned()];
    let output = Host::new()?.probe(&container, &check)?;
    assert_eq!(output.status.code(), Some(64));
    ensure!(String::from_utf8_lossy(&output.stderr).contains("PEPPERS_FILE"));

    // A listed key that is missing, and a Secret that does not exist, stop the pod before its program starts.
    let ca = store
        .secrets
        .get_mut("haven-postgres-ca")
        .context("haven-postgres-ca")?;
    ca.clear();
    ensure!(service(&overlay, "identity", &store).is_err());
    store.secrets.remove("haven-postgres-ca");
    ensure!(service(&overlay, "data", &store).is_err());
    Ok(())
}
