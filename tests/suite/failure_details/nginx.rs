//! A real nginx in front of both services, with its default buffers.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::chown,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use haven_testkit::{Client, Stack, package::Package, port::Port, process::Process, user::User};

/// The name of the package.
pub(super) const PACKAGE: &str = "nginx";

/// The time that nginx gets to start.
const LIMIT: Duration = Duration::from_secs(30);

/// An nginx process. Dropping it kills the process.
pub(super) struct Nginx {
    port: Port,
    _process: Process,
    _directory: tempfile::TempDir,
}

impl Nginx {
    /// Starts nginx in front of the services of `stack`. Beside `directives` for the server, only what has no usable default is
    /// set: addresses, certificates and directories.
    pub(super) fn start(package: &Package, stack: &Stack, directives: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = Port::reserve()?;
        let leaf = stack.certificates.leaf("data");
        let file = |name: &str| directory.path().join(name);
        fs::copy(leaf.certificate, file("server.crt"))?;
        fs::copy(leaf.key, file("server.key"))?;
        let configuration = format!(
            // One process: a worker would outlive a master that is killed.
            "daemon off;\n\
             master_process off;\n\
             error_log {directory}/error.log;\n\
             pid {directory}/nginx.pid;\n\
             events {{}}\n\
             http {{\n\
             access_log off;\n\
             client_body_temp_path {directory}/body;\n\
             proxy_temp_path {directory}/proxy;\n\
             fastcgi_temp_path {directory}/fastcgi;\n\
             uwsgi_temp_path {directory}/uwsgi;\n\
             scgi_temp_path {directory}/scgi;\n\
             server {{\n\
             listen 127.0.0.1:{port} ssl http2;\n\
             ssl_certificate {directory}/server.crt;\n\
             ssl_certificate_key {directory}/server.key;\n\
             {directives}\n\
             location /haven.identity. {{ grpc_pass grpcs://127.0.0.1:{identity}; }}\n\
             location / {{ grpc_pass grpcs://127.0.0.1:{data}; }}\n\
             }}\n\
             }}\n",
            directory = directory.path().display(),
            port = port.number(),
            identity = stack.identity.listeners.api,
            data = stack.data.listeners.api,
        );
        fs::write(file("nginx.conf"), configuration)?;
        if let Some(user) = User::instead_of_root()? {
            let files: Vec<PathBuf> = ["server.crt", "server.key", "nginx.conf"].map(file).into();
            for path in files.iter().map(PathBuf::as_path).chain([directory.path()]) {
                chown(path, Some(user.uid), Some(user.gid))?;
            }
        }
        let mut command = package.command("usr/sbin/nginx")?;
        command
            .arg("-p")
            .arg(directory.path())
            .arg("-e")
            .arg(file("error.log"))
            .arg("-c")
            .arg(file("nginx.conf"));
        let mut process = Process::start("nginx", command, &file("output.log"))?;
        let limit = Instant::now() + LIMIT;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port.number())).is_err() {
            if process.ended().is_some() || Instant::now() > limit {
                bail!(process.failure());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Self {
            port,
            _process: process,
            _directory: directory,
        })
    }

    /// Returns `client` without an identity that calls both services through nginx.
    pub(super) fn client(&self, stack: &Stack) -> Result<Client> {
        let port = [self.port.number()];
        Client::balanced(&stack.certificates, None, &port, &port)
    }
}
