//! `deploy/compose/compose.yaml`: both programs become ready with what it gives them, and with nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use haven_proto::data::v1::ListMessagesRequest;
use haven_testkit::{
    Client,
    installation::Installation,
    secret_files::{Addresses, MOUNT, SecretFiles},
    secrets::SUPERUSER,
    template::TestCluster,
    workspace,
};
use serde::Deserialize;

use super::manifest::{Container, Host};

/// The file, as far as these tests look at it. Everything else is checked against the schema, in CI.
#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
    secrets: BTreeMap<String, Source>,
}

#[derive(Deserialize)]
struct Service {
    image: String,
    #[serde(default)]
    entrypoint: Vec<String>,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    expose: Vec<String>,
    #[serde(default)]
    profiles: Vec<String>,
    #[serde(default)]
    depends_on: BTreeMap<String, Dependency>,
    healthcheck: Option<HealthCheck>,
    restart: String,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    cap_drop: Vec<String>,
    #[serde(default)]
    security_opt: Vec<String>,
    mem_limit: Option<String>,
    cpus: Option<f64>,
    pids_limit: Option<u32>,
    stop_grace_period: Option<String>,
}

#[derive(Deserialize)]
struct Source {
    file: String,
}

#[derive(Deserialize)]
struct Dependency {
    condition: String,
}

#[derive(Deserialize)]
struct HealthCheck {
    test: Vec<String>,
}

/// Reads a file beside compose.yaml.
fn read(name: &str) -> String {
    fs::read_to_string(workspace::root().join("deploy/compose").join(name)).unwrap()
}

/// The variables of `.env.example`.
fn example() -> BTreeMap<String, String> {
    let text = read(".env.example");
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let variables = lines.filter(|(name, _)| !name.starts_with('#'));
    variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The variables that `text` takes from its environment, `${NAME:-default}`, with their defaults.
fn interpolated(text: &str) -> BTreeSet<(String, String)> {
    let variables = text.split("${").skip(1).map(|rest| {
        let (variable, _) = rest.split_once('}').unwrap();
        let (name, default) = variable
            .split_once(":-")
            .expect("a variable of compose.yaml without a default");
        (name.to_owned(), default.to_owned())
    });
    variables.collect()
}

/// Parses the file `text` with the environment of `.env.example`.
fn parse(text: &str) -> Result<Compose> {
    let mut text = text.to_owned();
    let variables = example();
    for (name, default) in interpolated(&text) {
        text = text.replace(&format!("${{{name}:-{default}}}"), &variables[&name]);
    }
    serde_saphyr::from_str(&text).context("compose.yaml")
}

fn compose() -> Compose {
    parse(&read("compose.yaml")).unwrap()
}

impl Compose {
    /// Returns the service `name` as a container, with its secrets from `directory`.
    fn container(&self, name: &str, directory: &Path) -> Result<Container> {
        let service = &self.services[name];
        let mut files = BTreeMap::new();
        for secret in &service.secrets {
            let source = self
                .secrets
                .get(secret)
                .with_context(|| format!("the secret {secret} is not declared"))?;
            let file = source.file.strip_prefix("./secrets/").context("./secrets/")?;
            let content = fs::read(directory.join(file)).with_context(|| file.to_owned())?;
            files.insert(Path::new(MOUNT).join(secret), content);
        }
        let ports = service.ports.iter().chain(&service.expose);
        let ports = ports.filter_map(|port| port.rsplit(':').next()?.parse().ok());
        Ok(Container {
            name: name.to_owned(),
            image: service.image.clone(),
            command: service.entrypoint.clone(),
            args: service.command.clone(),
            env: service.environment.clone().into_iter().collect(),
            files,
            ports: ports.collect(),
        })
    }
}

/// Creates the files of `cargo dev secrets`, for a cluster that has its secrets and certificates already.
fn secret_files(directory: &Path, cluster: &TestCluster) -> Result<SecretFiles> {
    let log = cluster.cluster.log();
    let state = log.parent().context("the directory of the cluster")?;
    fs::copy(state.join("secrets.json"), directory.join("secrets.json"))?;
    for file in workspace::files(&state.join("certificates"))? {
        fs::copy(&file, directory.join(file.file_name().unwrap_or_default()))?;
    }
    SecretFiles::keep(directory, &Addresses::of_compose())
}

/// Runs `create-roles` as the service `roles` does, except that it connects over TLS and not over the socket.
fn create_roles(cluster: &TestCluster, files: &SecretFiles) -> Result<()> {
    let bin = Installation::find().context("Postgres")?.bin;
    let path = std::env::join_paths([bin.as_path(), Path::new("/usr/bin"), Path::new("/bin")])?;
    let output = Command::new(workspace::root().join("deploy/compose/create-roles"))
        .env_clear()
        .envs(cluster.maintenance().libpq(SUPERUSER))
        .env("PATH", path)
        .env("SCRIPTS", workspace::migrations().join("cluster"))
        .env("LOGINS", files.path("logins"))
        .output()?;
    ensure!(output.status.success(), "{}", text(&output));
    Ok(())
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[tokio::test]
async fn both_services_become_ready_with_what_the_file_gives_them() -> Result<()> {
    let compose = compose();
    let cluster = TestCluster::own(false).await?;
    let directory = tempfile::tempdir()?;
    let files = secret_files(directory.path(), &cluster)?;
    let mut host = Host::new()?;
    let server = format!("localhost:{}", cluster.maintenance().port);
    // PgBouncer's tests run it; here the services reach Postgres itself by its name.
    host.replace("pgbouncer:6432", &server);
    host.replace("postgres:5432", &server);
    host.reach("identity:50051", "identity", 50051)?;
    host.reach("data:50052", "data", 50052)?;

    // Twice: the one-shot services run at every `up`.
    for _ in 0..2 {
        create_roles(&cluster, &files)?;
        for name in ["migrate-identity", "migrate-data"] {
            host.succeed(&compose.container(name, directory.path())?)?;
        }
    }
    let containers = [
        compose.container("identity", directory.path())?,
        compose.container("data", directory.path())?,
    ];
    let [mut identity, mut data] = [host.serve(&containers[0])?, host.serve(&containers[1])?];
    for (service, container) in [(&mut identity, &containers[0]), (&mut data, &containers[1])] {
        service.ready().await?;
        let probe = compose.services[&container.name]
            .healthcheck
            .as_ref()
            .context("a health check")?;
        let (kind, command) = probe.test.split_first().context("a command")?;
        assert_eq!(kind, "CMD", "the image has no shell");
        let output = host.probe(container, command)?;
        assert_eq!(
            (output.status.code(), text(&output).trim_end()),
            (Some(0), "serving")
        );
    }
    // A person comes into being in data only if each service reaches the other, and accepts it.
    let client = Client::new(&files.certificates, None, identity.listeners, data.listeners)?;
    let ada = client.invent().await?;
    let conversation = client.with_token(&ada.token)?.conversation();
    { conversation }
        .list_messages(ListMessagesRequest::default())
        .await?;
    assert_eq!(host.unused(), Vec::<String>::new());
    assert!(
        identity.stop() && data.stop(),
        "SIGTERM did not end a service in time"
    );
    Ok(())
}

/// Returns how identity fails to start from the file with `from` replaced by `to`.
async fn failure(from: &str, to: &str) -> Result<String> {
    let text = read("compose.yaml");
    ensure!(text.contains(from), "compose.yaml has no {from:?}");
    let compose = parse(&text.replacen(from, to, 1))?;
    let directory = tempfile::tempdir()?;
    SecretFiles::keep(directory.path(), &Addresses::of_compose())?;
    let container = compose.container("identity", directory.path())?;
    let host = Host::new()?;
    let error = match host.serve(&container) {
        Err(error) => error,
        Ok(mut service) => match service.ready().await {
            Err(error) => error,
            Ok(()) => return Ok("it is ready".to_owned()),
        },
    };
    Ok(format!("{error:#}"))
}

#[tokio::test]
async fn a_variable_that_is_unknown_or_missing_is_found() -> Result<()> {
    for (from, to, expected) in [
        (
            "PEPPERS_FILE:",
            "PEPPER_FILE:",
            "does not know the variable PEPPER_FILE",
        ),
        (
            "      PEPPERS_FILE: /run/secrets/peppers\n",
            "",
            "PEPPERS: is missing",
        ),
        (
            "      TLS_CA_FILE: /run/secrets/ca.pem\n",
            "",
            "TLS_CA_FILE: is missing",
        ),
        (
            "      - peppers\n",
            "",
            "PEPPERS_FILE: cannot read /run/secrets/peppers",
        ),
        ("      - identity.key\n", "", "TLS_KEY_FILE: cannot read"),
        ("0.0.0.0:50061", "127.0.0.1:50061", "no other container can reach"),
        (
            "0.0.0.0:50061",
            "0.0.0.0:50063",
            "the manifest declares the ports",
        ),
        (
            r#"["50061", "9101"]"#,
            r#"["9101"]"#,
            "the manifest declares the ports",
        ),
    ] {
        let failure = failure(from, to).await?;
        assert!(failure.contains(expected), "{from:?} to {to:?}: {failure}");
    }
    Ok(())
}

#[test]
fn the_example_environment_has_every_variable_with_its_default_and_no_other() {
    let example: BTreeSet<_> = example().into_iter().collect();
    assert_eq!(example, interpolated(&read("compose.yaml")));
    let version = fs::read_to_string(workspace::root().join("Cargo.toml")).unwrap();
    assert!(version.contains("\nversion = \"0.1.0\"\n"), "HAVEN_VERSION");
}

#[test]
fn every_container_is_confined() {
    for (name, service) in compose().services {
        assert!(service.read_only, "{name}: read_only");
        assert_eq!(service.cap_drop, ["ALL"], "{name}");
        assert_eq!(service.security_opt, ["no-new-privileges:true"], "{name}");
        assert!(
            service.mem_limit.is_some() && service.cpus.is_some() && service.pids_limit.is_some(),
            "{name}: limits"
        );
        let (_, tag) = service.image.rsplit_once(':').expect("a tag");
        assert!(!tag.is_empty() && tag != "latest", "{name}: {}", service.image);
        // One-shot services end; all others start again, and say whether they are well.
        let once = ["roles", "migrate-identity", "migrate-data", "limits"].contains(&name.as_str());
        assert_eq!(
            service.restart,
            if once { "on-failure:3" } else { "unless-stopped" },
            "{name}"
        );
        assert_eq!(service.healthcheck.is_none(), once, "{name}: healthcheck");
        for (other, dependency) in &service.depends_on {
            let waits_for_end = dependency.condition == "service_completed_successfully";
            let ends = ["roles", "migrate-identity", "migrate-data", "limits"].contains(&other.as_str());
            assert_eq!(waits_for_end, ends, "{name} on {other}: {}", dependency.condition);
        }
    }
}

#[test]
fn only_the_apis_and_the_pages_are_published_and_only_on_loopback() {
    for (name, service) in compose().services {
        for port in &service.ports {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
        }
        let may_publish =
            ["identity", "data", "web"].contains(&name.as_str()) || service.profiles == ["monitoring"];
        assert!(
            service.ports.is_empty() || may_publish,
            "{name}: {:?}",
            service.ports
        );
    }
}

#[test]
fn nginx_of_the_pages_fits_what_is_around_it() {
    let compose = compose();
    let nginx = fs::read_to_string(workspace::root().join("deploy/web/nginx.conf")).unwrap();
    let web = &compose.services["web"];
    let (published, port) = web.ports[0].rsplit_once(':').unwrap();
    assert!(nginx.contains(&format!("listen {port};")), "{port}");
    for secret in &web.secrets {
        assert!(nginx.contains(&format!("{MOUNT}/{secret};")), "{secret}");
    }
    let (_, published) = published.rsplit_once(':').unwrap();
    let origins = format!("http://localhost:{published},http://127.0.0.1:{published}");
    for name in ["identity", "data"] {
        let environment = &compose.services[name].environment;
        let (_, api) = environment["API_ADDR"].rsplit_once(':').unwrap();
        assert!(nginx.contains(&format!("server {name}:{api};")), "{name}");
        assert_eq!(environment["WEB_ORIGINS"], origins, "{name}");
        let address = format!("ipv4_address: {}\n", environment["TRUSTED_PROXIES"]);
        assert_eq!(read("compose.yaml").matches(&address).count(), 1, "{name}");
    }
}

#[test]
fn prometheus_scrapes_each_service_where_it_listens() -> Result<()> {
    #[derive(Deserialize)]
    struct Prometheus {
        scrape_configs: Vec<Job>,
    }
    #[derive(Deserialize)]
    struct Job {
        job_name: String,
        static_configs: Vec<Targets>,
    }
    #[derive(Deserialize)]
    struct Targets {
        targets: Vec<String>,
    }
    let prometheus: Prometheus = serde_saphyr::from_str(&read("monitoring/prometheus.yml"))?;
    let scraped: BTreeMap<_, _> = prometheus
        .scrape_configs
        .iter()
        .map(|job| (job.job_name.as_str(), job.static_configs[0].targets.clone()))
        .collect();
    let compose = compose();
    let services = compose.services.iter();
    let listening: BTreeMap<_, _> = services
        .filter_map(|(name, service)| {
            let port = service.environment.get("METRICS_ADDR")?.rsplit(':').next()?;
            Some((name.as_str(), vec![format!("{name}:{port}")]))
        })
        .collect();
    assert_eq!(scraped, listening);
    Ok(())
}

#[test]
fn a_service_gets_longer_to_stop_than_it_takes_to_drain() {
    let compose = compose();
    let seconds = |text: &str| text.strip_suffix('s').unwrap().parse::<u32>().unwrap();
    for name in ["identity", "data"] {
        let service = &compose.services[name];
        let grace = seconds(service.stop_grace_period.as_deref().unwrap());
        assert!(grace > seconds(&service.environment["DRAIN_TIMEOUT"]), "{name}");
    }
}

#[test]
fn every_secret_is_used_and_is_created_by_cargo_dev_secrets() -> Result<()> {
    let compose = compose();
    let directory = tempfile::tempdir()?;
    let files = SecretFiles::keep(directory.path(), &Addresses::of_compose())?;
    let used: BTreeSet<_> = compose
        .services
        .values()
        .flat_map(|service| &service.secrets)
        .collect();
    assert_eq!(used, compose.secrets.keys().collect::<BTreeSet<_>>());
    for (name, source) in &compose.secrets {
        assert_eq!(source.file, format!("./secrets/{name}"));
        assert!(files.path(name).exists(), "{name}");
    }
    Ok(())
}
