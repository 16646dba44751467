//! A container as a manifest describes it, run as a process on this machine: with the manifest's command, environment,
//! mounted files and ports, and nothing else.
//!
//! A [`Host`] takes the place of what a container has around itself, in four ways and no other:
//!
//! - a mount path becomes a path in a temporary directory;
//! - `host:port` of another container becomes `localhost` and a free port, where a test has said so;
//! - `0.0.0.0:PORT` in a variable `*_ADDR` becomes `127.0.0.1` and a free port;
//! - the program of an image becomes the one that cargo built.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Mutex,
};

use anyhow::{Context, Result, bail, ensure};
use haven_testkit::{
    binaries::Binaries,
    environment::{Listeners, Variables},
    port::Port,
    service::Service,
};
use tempfile::TempDir;

/// A container of a manifest, without what this machine cannot do: limits, users, capabilities.
#[derive(Clone, Debug, Default)]
pub(crate) struct Container {
    /// The name by which other containers of the manifest reach it, for messages and for [`Host::reach`].
    pub(crate) name: String,
    /// The reference of the image, whose last part names the program: `…/identity:0.1.0`.
    pub(crate) image: String,
    /// The command in place of the image's entry point; empty for that of the image.
    pub(crate) command: Vec<String>,
    /// The arguments in place of the image's; empty for those of the image.
    pub(crate) args: Vec<String>,
    /// The environment, in the order of the manifest.
    pub(crate) env: Vec<(String, String)>,
    /// The contents of each mounted file, by the path at which the container sees it.
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
    /// The ports that the manifest declares for the container.
    pub(crate) ports: BTreeSet<u16>,
}

/// What the containers of one manifest run on.
pub(crate) struct Host {
    directory: TempDir,
    /// The free port for each port of each container.
    ports: Mutex<BTreeMap<(String, u16), Port>>,
    /// `host:port` as manifests write it, with what takes its place.
    addresses: BTreeMap<String, String>,
    used: Mutex<BTreeSet<String>>,
}

/// A container that can be run as a process.
struct Placed {
    program: PathBuf,
    arguments: Vec<String>,
    variables: Variables,
}

impl Container {
    /// Returns the service of the image: `identity` or `data`.
    pub(crate) fn service(&self) -> Result<&'static str> {
        let name = self.image.rsplit('/').next().unwrap_or_default();
        let name = name.split(['@', ':']).next().unwrap_or_default();
        ["identity", "data"]
            .into_iter()
            .find(|service| name == *service || name == format!("haven-{service}"))
            .with_context(|| format!("{}: the image {} is none of Haven's", self.name, self.image))
    }

    /// Returns the arguments of the program: those of the manifest, or those of the image.
    fn arguments(&self) -> Result<Vec<String>> {
        let service = self.service()?;
        match self.command.split_first() {
            // The entry point of the image is the program, and its arguments are `serve`: see deploy/image.
            None if self.args.is_empty() => Ok(vec!["serve".to_owned()]),
            None => Ok(self.args.clone()),
            Some((program, arguments)) => {
                ensure!(
                    program == service || *program == format!("/usr/local/bin/{service}"),
                    "{}: the image has no program {program}",
                    self.name
                );
                Ok([arguments, &self.args].concat())
            }
        }
    }

    /// Returns the variables `*_ADDR` with their addresses.
    fn listeners(&self) -> impl Iterator<Item = (&str, &str)> {
        let variables = self.env.iter().filter(|(name, _)| name.ends_with("_ADDR"));
        variables.map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl Host {
    /// Creates a host without containers.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            directory: tempfile::tempdir()?,
            ports: Mutex::default(),
            addresses: BTreeMap::new(),
            used: Mutex::default(),
        })
    }

    /// Makes `address`, a `host:port` of the manifest, lead to the port `port` of the container `name`.
    pub(crate) fn reach(&mut self, address: &str, name: &str, port: u16) -> Result<()> {
        let free = self.port(name, port)?;
        self.replace(address, &format!("localhost:{free}"));
        Ok(())
    }

    /// Makes `address`, a `host:port` of the manifest, lead to `replacement`.
    pub(crate) fn replace(&mut self, address: &str, replacement: &str) {
        self.addresses.insert(address.to_owned(), replacement.to_owned());
    }

    /// Returns the addresses that no container named. The test has them for nothing, or the manifest lacks them.
    pub(crate) fn unused(&self) -> Vec<String> {
        let used = self.used.lock().unwrap();
        let unused = self.addresses.keys().filter(|address| !used.contains(*address));
        unused.cloned().collect()
    }

    /// Returns the free port of this machine that takes the place of `port` of the container `name`.
    pub(crate) fn port(&self, name: &str, port: u16) -> Result<u16> {
        let mut ports = self.ports.lock().unwrap();
        let key = (name.to_owned(), port);
        if !ports.contains_key(&key) {
            ports.insert(key.clone(), Port::reserve()?);
        }
        Ok(ports[&key].number())
    }

    /// Starts a container that serves, and does not wait until it is ready. Its ports must be those that it listens on.
    pub(crate) fn serve(&self, container: &Container) -> Result<Service> {
        let placed = self.place(container)?;
        ensure!(
            placed.arguments == ["serve"],
            "{}: the arguments are {:?}, and not those of a service",
            container.name,
            placed.arguments
        );
        let mut listening = BTreeMap::new();
        for (name, address) in container.listeners() {
            let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
            ensure!(
                ["0.0.0.0", "[::]"].contains(&host),
                "{}: {name} is {address}, which no other container can reach",
                container.name
            );
            listening.insert(name, port.parse::<u16>()?);
        }
        ensure!(
            listening.values().copied().collect::<BTreeSet<_>>() == container.ports,
            "{}: the manifest declares the ports {:?}, but the service listens on {listening:?}",
            container.name,
            container.ports
        );
        let port = |name: &str| match listening.get(name) {
            Some(port) => self.port(&container.name, *port),
            None => bail!("{}: {name} is not set", container.name),
        };
        let listeners = Listeners {
            api: port("API_ADDR")?,
            health: port("HEALTH_ADDR")?,
            metrics: port("METRICS_ADDR")?,
        };
        let log = self.directory.path().join(format!("{}.log", container.name));
        let mut service = Service::new(
            container.service()?,
            &placed.program,
            listeners,
            placed.variables,
            &log,
        );
        service.launch()?;
        Ok(service)
    }

    /// Runs a container that ends, such as a migration.
    pub(crate) fn run(&self, container: &Container) -> Result<Output> {
        execute(&self.place(container)?)
    }

    /// Runs `command`, a program and its arguments, in the environment of a container, as a probe does.
    pub(crate) fn probe(&self, container: &Container, command: &[String]) -> Result<Output> {
        let probe = Container {
            command: command.to_vec(),
            args: Vec::new(),
            ..container.clone()
        };
        execute(&Placed {
            arguments: probe.arguments()?,
            ..self.place(container)?
        })
    }

    /// Runs a container as [`Host::run`] does, and returns an error with its output unless it succeeds.
    pub(crate) fn succeed(&self, container: &Container) -> Result<()> {
        let output = self.run(container)?;
        let text = [output.stdout.as_slice(), &output.stderr].concat();
        ensure!(
            output.status.success(),
            "{}: {}: {}",
            container.name,
            output.status,
            String::from_utf8_lossy(&text)
        );
        Ok(())
    }

    /// Runs a container of another image with `program` in place of its command, as [`Host::succeed`] does.
    pub(crate) fn succeed_as(&self, program: &Path, container: &Container) -> Result<()> {
        let output = execute(&self.fill(program.to_owned(), &container.args, container)?)?;
        ensure!(
            output.status.success(),
            "{}: {}: {}",
            container.name,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Checks that the program knows every variable, and puts files and addresses of this machine in place of those of
    /// the container.
    fn place(&self, container: &Container) -> Result<Placed> {
        let program = Binaries::build()?.of(container.service()?).to_owned();
        let arguments = container.arguments()?;
        let known = known_variables(&program, &arguments)?;
        for (name, _) in &container.env {
            ensure!(
                known.contains(name),
                "{}: the program does not know the variable {name}",
                container.name
            );
        }
        self.fill(program, &arguments, container)
    }

    /// Puts files and addresses of this machine in place of those of the container.
    fn fill(&self, program: PathBuf, arguments: &[String], container: &Container) -> Result<Placed> {
        let mut variables = Variables::new();
        for (name, value) in &container.env {
            let previous = variables.insert(name.clone(), value.clone());
            ensure!(previous.is_none(), "{}: {name} is set twice", container.name);
        }
        let mut replacements = self.addresses.clone();
        let root = self.directory.path().join(&container.name);
        for path in container.files.keys() {
            let (path, placed) = (path.display().to_string(), placed_path(&root, path));
            replacements.insert(path, placed.display().to_string());
        }
        for (path, contents) in &container.files {
            let path = placed_path(&root, path);
            fs::create_dir_all(path.parent().unwrap_or(&root))?;
            let contents = match std::str::from_utf8(contents) {
                Ok(text) => self.replaced(text, &replacements).into_bytes(),
                Err(_) => contents.clone(),
            };
            fs::write(&path, contents).with_context(|| format!("writing {}", path.display()))?;
        }
        for (name, value) in &mut variables {
            *value = match value.rsplit_once(':') {
                Some(("0.0.0.0" | "[::]", port)) if name.ends_with("_ADDR") => {
                    format!("127.0.0.1:{}", self.port(&container.name, port.parse()?)?)
                }
                _ => self.replaced(value, &replacements),
            };
        }
        let arguments = arguments
            .iter()
            .map(|argument| self.replaced(argument, &replacements));
        Ok(Placed {
            program,
            arguments: arguments.collect(),
            variables,
        })
    }

    /// Returns `text` with each key of `replacements` replaced by its value: the longest first, and none twice.
    fn replaced(&self, text: &str, replacements: &BTreeMap<String, String>) -> String {
        let (mut done, mut rest) = (String::new(), text);
        while let Some(character) = rest.chars().next() {
            let matching = replacements.iter().filter(|(from, _)| rest.starts_with(*from));
            match matching.max_by_key(|(from, _)| from.len()) {
                Some((from, to)) => {
                    self.used.lock().unwrap().insert(from.clone());
                    done.push_str(to);
                    rest = &rest[from.len()..];
                }
                None => {
                    done.push(character);
                    rest = &rest[character.len_utf8()..];
                }
            }
        }
        done
    }
}

/// Runs the program of a placed container to its end.
fn execute(placed: &Placed) -> Result<Output> {
    let output = Command::new(&placed.program)
        .args(&placed.arguments)
        .env_clear()
        .envs(&placed.variables)
        .stdin(Stdio::null())
        .output();
    output.with_context(|| format!("starting {}", placed.program.display()))
}

/// Returns the place of a container's file below `root`.
fn placed_path(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Returns the variables that the subcommand of `arguments` reads, as its `--help` lists them.
fn known_variables(program: &Path, arguments: &[String]) -> Result<BTreeSet<String>> {
    let words = arguments.iter().take_while(|argument| !argument.starts_with('-'));
    let output = Command::new(program)
        .args(words)
        .arg("--help")
        .env_clear()
        .output()?;
    ensure!(
        output.status.success(),
        "{} has no command {arguments:?}: {}",
        program.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    // clap may break a line between a bracket and the name.
    let help = String::from_utf8(output.stdout)?;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let variables = help
        .split("[env: ")
        .skip(1)
        .filter_map(|rest| rest.split(['=', ']']).next());
    Ok(variables.map(str::to_owned).collect())
}
