//! The built pages on the web server and with the files that an installation has: nginx, `deploy/web/nginx.conf`, and
//! `deploy/web/headers.conf`.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use haven_testkit::{Stack, package::Package, port::Port, process::Process, user::User, workspace};

/// The time that nginx gets to listen.
const START: Duration = Duration::from_secs(30);

/// nginx with the pages. Dropping it kills the process.
pub(super) struct Pages {
    _nginx: Process,
}

impl Pages {
    /// Serves the files of `dist` on `port`, with the addresses of the services of `stack`: other origins than that of the pages, so
    /// that the calls need CORS. nginx also passes on calls to its own origin.
    ///
    /// # Errors
    ///
    /// If the package cannot be had, or nginx does not listen in time.
    pub(super) fn start(dist: &Path, port: &Port, stack: &Stack) -> Result<Self> {
        let package = Package::unpack(&["nginx"])?;
        let directory = stack.data.log().with_file_name("pages");
        copy(dist, &directory.join("web"))?;
        let services = [stack.identity.listeners.api, stack.data.listeners.api];
        let [identity, data] = services.map(|port| format!("https://localhost:{port}"));
        let config = serde_json::json!({ "identity": identity, "data": data });
        fs::write(directory.join("web/config.json"), config.to_string())?;
        fs::copy(stack.certificates.authority(), directory.join("ca.pem"))?;
        for name in ["nginx.conf", "headers.conf"] {
            let text = fs::read_to_string(workspace::root().join("deploy/web").join(name))?;
            let text = adapted(&text, &package, &directory, port.number(), services)?;
            fs::write(directory.join(name), text)?;
        }
        open_to_all(&directory)?;
        if let Some(user) = User::instead_of_root()? {
            chown(&directory, Some(user.uid), Some(user.gid))?;
        }
        let mut nginx = package.command("usr/sbin/nginx")?;
        nginx.arg("-c").arg(directory.join("nginx.conf")).args([
            "-e",
            "stderr",
            "-g",
            "daemon off; master_process off;",
        ]);
        let mut nginx = Process::start("nginx", nginx, &log(stack))?;
        let limit = Instant::now() + START;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port.number())).is_err() {
            if nginx.ended().is_some() || Instant::now() > limit {
                bail!(nginx.failure());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { _nginx: nginx })
    }
}

/// Returns the path of what nginx prints.
pub(super) fn log(stack: &Stack) -> PathBuf {
    stack.data.log().with_file_name("pages.log")
}

/// Returns a file of nginx for this machine: only addresses, ports and paths are replaced.
fn adapted(
    text: &str,
    package: &Package,
    directory: &Path,
    port: u16,
    [identity, data]: [u16; 2],
) -> Result<String> {
    let here = directory.display();
    let mut text = text.to_owned();
    for (from, to) in [
        ("listen 8080;", format!("listen 127.0.0.1:{port};")),
        ("server identity:50051;", format!("server 127.0.0.1:{identity};")),
        ("server data:50052;", format!("server 127.0.0.1:{data};")),
        ("/tmp/", format!("{here}/")),
        ("/etc/haven/", format!("{here}/")),
        ("/run/secrets/", format!("{here}/")),
        ("/usr/share/haven/", format!("{here}/")),
        ("/etc/nginx/", format!("{}/", package.path("etc/nginx").display())),
        (
            "connect-src 'self';",
            format!("connect-src 'self' https://localhost:{identity} https://localhost:{data};"),
        ),
    ] {
        text = text.replace(from, &to);
    }
    for left in ["8080", "50051", "50052", "/run/", "/usr/share/haven"] {
        let mut lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        ensure!(
            !lines.any(|line| line.contains(left)),
            "nginx.conf still has {left}"
        );
    }
    Ok(text)
}

/// Copies the files of `from` into the new directory `to`.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for file in workspace::files(from)? {
        let copied = to.join(file.strip_prefix(from)?);
        fs::create_dir_all(copied.parent().unwrap_or(to))?;
        fs::copy(&file, copied)?;
    }
    Ok(())
}

/// Lets all users read the files below `directory`: root runs nginx as another user.
fn open_to_all(directory: &Path) -> Result<()> {
    let set = |path: &PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    for file in workspace::files(directory)? {
        set(&file, 0o644)?;
        for parent in file
            .ancestors()
            .skip(1)
            .take_while(|path| path.starts_with(directory))
        {
            set(&parent.to_owned(), 0o755)?;
        }
    }
    Ok(())
}
