//! The programs of the rig: packages of Debian, and Patroni from PyPI.
//!
//! Debian 12 has Patroni 3.0.2, which `deploy/failover/up` refuses. The modules that Patroni needs are those of its package.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    installation::Installation,
    package::{Package, keep, run},
    release::{find, pip},
};

/// Patroni, as pip's requirement. It is Python only.
const PATRONI: &str =
    "patroni==4.1.5 --hash=sha256:7aad8c1539e6c51c269a8005169dd54ddc7668437b7900fa6099d7894e224c84";

/// The directory of Python's modules in a package.
const MODULES: &str = "usr/lib/python3/dist-packages";

/// Starts Patroni. It starts itself again to start Postgres, and must not run then.
const START: &str = "#!/usr/bin/python3\n\
                     from patroni.__main__ import main\n\n\
                     if __name__ == '__main__':\n    main()\n";

/// Starts Patroni's command line.
const CONTROL: &str = "#!/usr/bin/python3\n\
                       from patroni.ctl import ctl\n\n\
                       if __name__ == '__main__':\n    ctl(prog_name='patronictl')\n";

/// The unpacked programs.
#[derive(Clone, Debug)]
pub struct Programs {
    packages: Package,
    patroni: PathBuf,
    /// The directory of Postgres' programs.
    pub(super) postgres: PathBuf,
}

impl Programs {
    /// Unpacks Patroni, etcd, HAProxy, and the newest installed Postgres with pgaudit, unless an earlier run did.
    ///
    /// # Errors
    ///
    /// If no Postgres is installed, or if a package cannot be had. The error names the packages.
    pub fn unpack() -> Result<Self> {
        let installed = Installation::find().context("Postgres is not installed")?;
        let major = installed.version.major;
        let packages = Package::unpack(&[
            &format!("postgresql-{major}"),
            &format!("postgresql-client-{major}"),
            &format!("postgresql-{major}-pgaudit"),
            "patroni",
            "python3-etcd",
            // urllib3 needs it for TLS where pyOpenSSL is installed, and does not depend on it.
            "python3-idna",
            "etcd-server",
            "haproxy",
        ])?;
        let version = PATRONI.split(' ').next().unwrap_or_default();
        let patroni = keep(version, fetch);
        Ok(Self {
            postgres: packages.path(format!("usr/lib/postgresql/{major}/bin")),
            patroni: patroni.with_context(|| format!("the package {version} of PyPI is needed"))?,
            packages,
        })
    }

    /// Returns the directories of the programs, as `HAVEN_PACKAGES` has them.
    pub(super) fn directories(&self) -> String {
        let packages = self.packages.path("");
        format!("{}:{}", self.patroni.display(), packages.display())
    }

    /// Returns a `patronictl` command.
    pub(super) fn patronictl(&self) -> Result<Command> {
        // By the interpreter of the packages: another one may lack their modules.
        let mut command = Command::new("/usr/bin/python3");
        let modules = [self.patroni.join(MODULES), self.packages.path(MODULES)];
        command
            .env("PYTHONPATH", std::env::join_paths(modules)?)
            .env("LD_LIBRARY_PATH", self.packages.libraries()?)
            .arg(self.patroni.join("usr/bin/patronictl"));
        Ok(command)
    }
}

/// Downloads the wheel of Patroni, and lays it out in `root` below `draft` as a package of Debian.
fn fetch(draft: &Path) -> Result<()> {
    let file = draft.join("requirements.txt");
    fs::write(&file, PATRONI)?;
    let mut download = pip(draft)?;
    download
        .args(["download", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--require-hashes", "--only-binary=:all:", "--requirement"])
        .arg(&file)
        .current_dir(draft);
    run(&mut download)?;
    let (modules, programs) = (draft.join("root").join(MODULES), draft.join("root/usr/bin"));
    fs::create_dir_all(&modules)?;
    fs::create_dir_all(&programs)?;
    run(Command::new("python3")
        .args(["-m", "zipfile", "--extract"])
        .arg(find(draft, ".whl")?)
        .arg(modules))?;
    for (name, script) in [("patroni", START), ("patronictl", CONTROL)] {
        let path = programs.join(name);
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
