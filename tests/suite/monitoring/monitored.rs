//! A stack that real exporters, Prometheus and Alertmanager watch, with the files of `deploy/monitoring`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use haven_testkit::{
    Stack,
    binaries::Binaries,
    installation::Installation,
    package::Package,
    port::Port,
    process::{OnDeath, Process, command},
    queries, workspace,
};
use serde_json::Value;
use tempfile::TempDir;

use super::{PACKAGES, notifications::Receiver};
use crate::{
    eventually::within,
    packages,
    raw_socket::{exchange, tcp},
};

/// The time that all programs get to start and to be scraped twice.
const START: Duration = Duration::from_secs(120);

/// The stack and the programs around it. Dropping it ends them.
pub(super) struct Monitored {
    pub(super) stack: Stack,
    pub(super) receiver: Receiver,
    prometheus: u16,
    alertmanager: u16,
    _ports: Vec<Port>,
    processes: Vec<Process>,
    _directory: TempDir,
}

/// A directory that another user can read, and write where it must.
struct Files(PathBuf);

impl Monitored {
    /// Starts everything, and waits until Prometheus has scraped all. `None` when the packages cannot be had.
    pub(super) async fn start() -> Option<Self> {
        let package = packages::require(&PACKAGES)?;
        let directory = tempfile::tempdir().unwrap();
        let stack = Stack::builder()
            .own_cluster()
            .listening()
            .variable("data", "TRUSTED_ISSUERS", super::trusted_issuer(directory.path()))
            .start()
            .await
            .unwrap();
        queries::enable(&stack.database).await.unwrap();
        let receiver = Receiver::start().await;
        let files = Files(directory.path().to_owned());
        files.open(directory.path());
        let ports: Vec<_> = (0..4).map(|_| Port::reserve().unwrap()).collect();
        let [prometheus, alertmanager, postgres, node] =
            [0, 1, 2, 3].map(|index: usize| ports[index].number());

        let textfiles = files.folder("textfiles");
        verify_audit_log(&stack, &textfiles.join("audit.prom"));
        let targets = [
            ("identity", vec![stack.identity.listeners.metrics]),
            ("data", vec![stack.data.listeners.metrics]),
            ("postgres", vec![postgres]),
            ("node", vec![node]),
        ];
        files.write(
            "prometheus.yml",
            &prometheus_configuration(&targets, alertmanager),
        );
        files.write("alertmanager.yml", &alertmanager_configuration(receiver.port()));
        files.folder("rules");
        for file in super::rules::files("rules", "yml") {
            let name = Path::new("rules").join(file.file_name().unwrap());
            files.write(name.to_str().unwrap(), &fast(&fs::read_to_string(&file).unwrap()));
        }

        let start = |name: &str, program: &str, arguments: &[String]| {
            let mut command = package.command(&format!("usr/bin/{program}")).unwrap();
            command.args(arguments);
            files.start(name, command)
        };
        let listen = |port: u16| format!("--web.listen-address=127.0.0.1:{port}");
        let path = |option: &str, name: &str| format!("{option}={}", files.0.join(name).display());
        let folder = |option: &str, name: &str| format!("{option}={}", files.folder(name).display());
        let processes = vec![
            files.start("exporter", exporter(&package, &stack, &files, postgres)),
            start(
                "node",
                "prometheus-node-exporter",
                &[listen(node), path("--collector.textfile.directory", "textfiles")],
            ),
            files.start("alertmanager", {
                let mut command = alertmanager_command(&package);
                command
                    .args([listen(alertmanager), "--cluster.listen-address=".to_owned()])
                    .arg(path("--config.file", "alertmanager.yml"))
                    .arg(folder("--storage.path", "alertmanager"));
                command
            }),
            start(
                "prometheus",
                "prometheus",
                &[
                    listen(prometheus),
                    path("--config.file", "prometheus.yml"),
                    folder("--storage.tsdb.path", "prometheus"),
                ],
            ),
        ];
        let mut monitored = Self {
            stack,
            receiver,
            prometheus,
            alertmanager,
            _ports: ports,
            processes,
            _directory: directory,
        };
        within(START, "Prometheus has scraped everything", async || {
            for process in &mut monitored.processes {
                assert!(process.ended().is_none(), "{}", process.failure());
            }
            monitored.has_scraped_everything().await
        })
        .await;
        Some(monitored)
    }

    async fn has_scraped_everything(&self) -> bool {
        let up = self.query("up == 1").await;
        let alertmanagers = get(self.prometheus, "/api/v1/alertmanagers").await;
        let is_known = alertmanagers.is_some_and(|value| value["data"]["activeAlertmanagers"][0].is_object());
        up.len() == 4 && is_known && get(self.alertmanager, "/api/v2/status").await.is_some()
    }

    /// Returns the labels of all series that Prometheus has, those that rules record included.
    pub(super) async fn series(&self) -> Vec<Value> {
        let path = format!("/api/v1/series?match[]={}", encoded("{__name__!=\"\"}"));
        let answer = get(self.prometheus, &path).await.unwrap();
        answer["data"].as_array().unwrap().clone()
    }

    /// Returns the results of an instant query. Empty while Prometheus does not answer.
    pub(super) async fn query(&self, expression: &str) -> Vec<Value> {
        let path = format!("/api/v1/query?query={}", encoded(expression));
        let answer = get(self.prometheus, &path).await;
        let result = answer
            .as_ref()
            .and_then(|answer| answer["data"]["result"].as_array());
        result.cloned().unwrap_or_default()
    }

    /// Returns the alerts that Alertmanager has, as pairs of the name and the state: `active`, `suppressed`.
    pub(super) async fn alerts(&self) -> Vec<(String, String)> {
        let alerts = get(self.alertmanager, "/api/v2/alerts").await.unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let alerts = alerts.as_array().unwrap().iter();
        alerts
            .map(|alert| {
                (
                    text(&alert["labels"]["alertname"]),
                    text(&alert["status"]["state"]),
                )
            })
            .collect()
    }
}

impl Files {
    fn open(&self, path: &Path) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }

    fn folder(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(&path).unwrap();
        self.open(&path);
        path
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn start(&self, name: &str, command: Command) -> Process {
        Process::start(name, command, &self.0.join(format!("{name}.log"))).unwrap()
    }
}

/// Returns `prometheus.yml` with the ports of `targets`, and with shorter intervals.
fn prometheus_configuration(targets: &[(&str, Vec<u16>)], alertmanager: u16) -> String {
    let text = fs::read_to_string(workspace::root().join("deploy/monitoring/prometheus.yml")).unwrap();
    let mut job = "";
    let mut lines = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.trim().strip_prefix("- job_name: ") {
            job = name;
        }
        let ports = targets
            .iter()
            .find(|(name, _)| *name == job)
            .map(|(_, ports)| ports);
        lines.push(match line.split_once("- targets: ") {
            Some((indent, _)) => {
                // Those before the first job are the Alertmanagers.
                let ports = ports.map_or(vec![alertmanager], Clone::clone);
                let addresses: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
                format!("{indent}- targets: {addresses:?}")
            }
            // A scrape of the exporter takes a second while its server is down.
            None => line
                .replace("scrape_interval: 15s", "scrape_interval: 3s")
                .replace("evaluation_interval: 15s", "evaluation_interval: 1s"),
        });
    }
    lines.join("\n")
}

/// Returns `alertmanager.yml` with the address of the receiver, and without the waits that collect notifications.
fn alertmanager_configuration(receiver: u16) -> String {
    let text = fs::read_to_string(workspace::root().join("deploy/monitoring/alertmanager.yml")).unwrap();
    text.replace("127.0.0.1:9095", &format!("127.0.0.1:{receiver}"))
        .replace("group_wait: 30s", "group_wait: 1s")
        .replace("group_interval: 5m", "group_interval: 1s")
}

/// Returns rules whose alerts wait a sixtieth of their time: minutes become seconds. Expressions do not change.
fn fast(rules: &str) -> String {
    let line = |line: &str| match line.trim_start().strip_prefix("for: ") {
        None => line.to_owned(),
        Some("30s") => line.replace("30s", "1s"),
        Some(time) if time.ends_with('m') => line.replace('m', "s"),
        Some(_) => line.replace('h', "m"),
    };
    rules.lines().map(|one| line(one) + "\n").collect()
}

/// Returns the command of Alertmanager, which opens a file of its package below `/usr/share` by its absolute path. It runs
/// where the package's directory is in that place, for this process alone.
fn alertmanager_command(package: &Package) -> Command {
    let mut command = command("unshare", None, OnDeath::Kill);
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command
        .args([
            "--mount",
            "sh",
            "-c",
            "mount --bind \"$0\" /usr/share && exec \"$@\"",
        ])
        .arg(package.path("usr/share"))
        .arg(package.path("usr/bin/prometheus-alertmanager"))
        .env("LD_LIBRARY_PATH", package.libraries().unwrap());
    command
}

/// Runs `identity audit verify --metrics`, as a timer of the machine would.
fn verify_audit_log(stack: &Stack, path: &Path) {
    let output = Command::new(Binaries::build().unwrap().identity)
        .args(["audit", "verify", "--metrics"])
        .arg(path)
        .env_clear()
        .env("WORKER_DATABASE_URL", stack.database.url("identity_worker"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn exporter(package: &Package, stack: &Stack, files: &Files, port: u16) -> Command {
    let login = stack.database.libpq(queries::LOGIN);
    let (_, password) = login.iter().find(|(name, _)| *name == "PGPASSWORD").unwrap();
    let authority = fs::read_to_string(&stack.database.authority).unwrap();
    let extension =
        fs::read_to_string(workspace::root().join("deploy/postgres/exporter-queries.yaml")).unwrap();
    let mut command = package.command("usr/bin/prometheus-postgres-exporter").unwrap();
    let uri = format!(
        "127.0.0.1:{}/{}?sslmode=verify-full&sslrootcert={}",
        stack.database.port,
        stack.database.name,
        files.write("ca.crt", &authority).display()
    );
    command
        .env("DATA_SOURCE_USER", queries::LOGIN)
        .env("DATA_SOURCE_PASS_FILE", files.write("password", password))
        .env("DATA_SOURCE_URI", uri)
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg(format!(
            "--extend.query-path={}",
            files.write("exporter-queries.yaml", &extension).display()
        ));
    if Installation::require(|_| ()).unwrap().version.major >= 17 {
        // The columns that it reads are gone since Postgres 17.
        command.arg("--no-collector.bgwriter");
    }
    command
}

/// Gets a JSON document. `None` when the program does not answer with one.
async fn get(port: u16, path: &str) -> Option<Value> {
    tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    // HTTP/1.0: the response is not chunked.
    let request = format!("GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n");
    let answer = exchange(tcp(port).await, request.as_bytes()).await;
    let answer = String::from_utf8(answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// Returns `text` as a value in the query of a URL.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
