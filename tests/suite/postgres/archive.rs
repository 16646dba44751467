//! The archive of the write-ahead log, with the archive_command of the file and a real pgBackRest.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
};

use haven_testkit::{package::Package, process, template::TestCluster, user::User, workspace};
use memchr::memmem;
use sqlx::Connection;

use super::{installation, log::canary};
use crate::{eventually::eventually, packages};

/// pgBackRest with a repository of its own.
struct Archive {
    package: Package,
    directory: PathBuf,
}

impl Archive {
    fn new(package: Package) -> Self {
        let directory = std::env::temp_dir().join(canary());
        for part in ["bin", "repository", "lock", "got"] {
            fs::create_dir_all(directory.join(part)).unwrap();
            let mode = fs::Permissions::from_mode(0o777);
            fs::set_permissions(directory.join(part), mode).unwrap();
        }
        let archive = Self { package, directory };
        // The server runs the command in its data directory.
        let script = format!(
            "#!/bin/sh\nLD_LIBRARY_PATH={} PGBACKREST_PG1_PATH=\"$PWD\" exec {} \"$@\"\n",
            archive.package.libraries().unwrap().to_str().unwrap(),
            archive.package.path("usr/bin/pgbackrest").display(),
        );
        let file = archive.directory.join("bin/pgbackrest");
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        archive
    }

    /// Returns the environment with which pgBackRest encrypts with `passphrase`.
    fn environment(&self, passphrase: &str) -> Vec<(String, String)> {
        let at = |part: &str| self.directory.join(part).display().to_string();
        let path = format!("{}:{}", at("bin"), std::env::var("PATH").unwrap());
        let variables: [(&str, String); 8] = [
            ("PATH", path),
            ("PGBACKREST_REPO1_PATH", at("repository")),
            ("PGBACKREST_REPO1_CIPHER_TYPE", "aes-256-cbc".to_owned()),
            ("PGBACKREST_REPO1_CIPHER_PASS", passphrase.to_owned()),
            ("PGBACKREST_COMPRESS_TYPE", "none".to_owned()),
            ("PGBACKREST_LOCK_PATH", at("lock")),
            ("PGBACKREST_LOG_LEVEL_FILE", "off".to_owned()),
            ("PGBACKREST_LOG_LEVEL_CONSOLE", "warn".to_owned()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// Runs a command of pgBackRest as the server's user, in the server's data directory.
    fn run(&self, data: &Path, passphrase: &str, arguments: &[&str]) -> Output {
        let user = User::instead_of_root().unwrap();
        let program = self.directory.join("bin/pgbackrest");
        let mut command = process::command(program, user.as_ref(), process::OnDeath::Kill);
        command.envs(self.environment(passphrase)).current_dir(data);
        command.arg("--stanza=haven").args(arguments).output().unwrap()
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test]
async fn segments_are_archived_encrypted_and_can_be_had_back() {
    let Some(mut installation) = installation() else {
        return;
    };
    let Some(package) = packages::require(&["pgbackrest"]) else {
        return;
    };
    let archive = Archive::new(package);
    let passphrase = canary();
    installation.environment = archive.environment(&passphrase);
    let cluster = TestCluster::production(installation).await.unwrap();
    let (data, canary) = (cluster.cluster.data(), canary());
    let created = archive.run(&data, &passphrase, &["--no-online", "stanza-create"]);
    assert!(created.status.success(), "{created:?}");

    let database = cluster.database().await.unwrap();
    let mut superuser = database.connect("postgres").await.unwrap();
    let row = format!("CREATE TABLE public.t (a text); INSERT INTO public.t VALUES ('{canary}')");
    database.run("postgres", &row).await.unwrap();
    let segment = "SELECT pg_walfile_name(pg_switch_wal())";
    let segment: String = sqlx::query_scalar(segment)
        .fetch_one(&mut superuser)
        .await
        .unwrap();
    let archived = "SELECT last_archived_wal >= $1 FROM pg_stat_archiver";
    eventually("the segment is archived", async || {
        let archived = sqlx::query_scalar(archived)
            .bind(&segment)
            .fetch_one(&mut superuser)
            .await;
        archived.unwrap_or(None) == Some(true)
    })
    .await;
    superuser.close().await.unwrap();

    let contains = |file: &Path| memmem::find(&fs::read(file).unwrap(), canary.as_bytes()).is_some();
    assert!(contains(&data.join("pg_wal").join(&segment)), "the control");
    let files = workspace::files(&archive.directory.join("repository")).unwrap();
    let name = |file: &Path| file.file_name().unwrap().to_string_lossy().into_owned();
    assert!(
        files.iter().any(|file| name(file).starts_with(&segment)),
        "{files:?}"
    );
    assert!(
        !files.iter().any(|file| contains(file)),
        "the archive is encrypted"
    );

    let got = archive.directory.join("got").join(&segment);
    let get = ["archive-get", segment.as_str(), got.to_str().unwrap()];
    let refused = archive.run(&data, "another passphrase", &get);
    assert!(!refused.status.success() && !got.exists(), "{refused:?}");
    let fetched = archive.run(&data, &passphrase, &get);
    assert!(fetched.status.success(), "{fetched:?}");
    assert!(contains(&got), "the segment comes back");
    // The passphrase is in the environment of the server, and nowhere in its log.
    let log = fs::read_to_string(cluster.cluster.log()).unwrap();
    assert!(!log.contains(&passphrase));
}
