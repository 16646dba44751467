//! Breakages of TLS, `pg_hba.conf` and passwords.

use super::super::breakage::{Breakage, Change};

/// A line that lets all logins in without TLS.
const PLAIN: &str = "host haven all 127.0.0.1/32 scram-sha-256";

pub(in super::super) const CONNECTIONS: &[Breakage] = &[
    Breakage {
        login: "app",
        ..Breakage::new("worker-login", "the login is data_app", Change::None)
    },
    Breakage {
        plain: true,
        ..Breakage::access("tls-in-use", "the connection is not encrypted", PLAIN).and(&["hba-tls"])
    },
    // Without TLS, lines with hostssl are errors, and no client can connect over TLS.
    Breakage {
        plain: true,
        ..Breakage::new("tls-on", "ssl is off", Change::Access(PLAIN, &[("ssl", "off")])).and(&[
            "hba-tls",
            "hba-valid",
            "tls-in-use",
        ])
    },
    Breakage::settings(
        "tls-version",
        "ssl_min_protocol_version is TLSv1.1",
        &[("ssl_min_protocol_version", "'TLSv1.1'")],
    ),
    Breakage::settings(
        "password-encryption",
        "password_encryption is md5 (the server)",
        &[("password_encryption", "'md5'")],
    ),
    Breakage::access("hba-valid", "line 1: ", "hostssl haven data_app 10.0.0.0/8 scram"),
    Breakage::access(
        "hba-tls",
        "line 1: host haven data_app 10.0.0.0 scram-sha-256",
        "host haven data_app 10.0.0.0/8 scram-sha-256",
    ),
    // The name all does not include replication.
    Breakage::access(
        "hba-tls",
        "line 2: host replication haven_backup 10.0.0.0 scram-sha-256",
        "hostnossl all all all reject\nhost replication haven_backup 10.0.0.0/8 scram-sha-256",
    ),
    Breakage::access(
        "hba-methods",
        "line 1: hostssl data_app trust",
        "hostssl haven data_app 10.0.0.0/8 trust",
    ),
    Breakage::access("hba-methods", "line 1: local all trust", "local all all trust"),
    Breakage::access(
        "hba-addresses",
        "line 1: hostssl data_app 0.0.0.0",
        "hostssl haven data_app 0.0.0.0/0 scram-sha-256",
    ),
    Breakage::access(
        "hba-addresses",
        "line 1: hostssl data_app all",
        "hostssl haven data_app all scram-sha-256",
    ),
    Breakage::access(
        "hba-superuser",
        "line 1: hostssl postgres 10.0.0.0",
        "hostssl haven postgres 10.0.0.0/8 scram-sha-256",
    ),
];
