//! The settings of TLS: certificate files, trusted authorities and services.

use std::path::PathBuf;

use clap::Args;

use super::ConfigProblems;
use crate::{allowed_services::AllowedServices, tls::TlsFiles};

/// The flags of TLS.
#[derive(Args, Clone, Debug)]
pub struct TlsArgs {
    /// The file of the service's certificate and chain, PEM, used as server and as client; reloaded when it changes
    #[arg(long, env = "TLS_CERT_FILE", value_name = "FILE")]
    pub tls_cert_file: Option<PathBuf>,
    /// The file of the certificate's private key, PEM
    #[arg(long, env = "TLS_KEY_FILE", value_name = "FILE")]
    pub tls_key_file: Option<PathBuf>,
    /// The file of the certificate authorities that are trusted for servers and clients, PEM
    #[arg(long, env = "TLS_CA_FILE", value_name = "FILE")]
    pub tls_ca_file: Option<PathBuf>,
    /// The services that may call: subject alternative names of client certificates (DNS names or URIs), with their scopes
    #[arg(long, env = "ALLOWED_SERVICES", value_name = "SAN=SCOPE,…;…")]
    pub allowed_services: Option<String>,
}

impl TlsArgs {
    /// Checks the flags. The contents of the files are checked when they are loaded.
    pub fn check(&self, problems: &mut ConfigProblems) -> Option<TlsFiles> {
        let mut file = |name, path: &Option<PathBuf>| {
            let Some(path) = path else {
                problems.add(name, "is missing");
                return None;
            };
            problems.take(
                name,
                std::fs::File::open(path)
                    .map(|_| path.clone())
                    .map_err(|error| format!("cannot read {}: {error}", path.display())),
            )
        };
        let cert = file("TLS_CERT_FILE", &self.tls_cert_file);
        let key = file("TLS_KEY_FILE", &self.tls_key_file);
        let ca = file("TLS_CA_FILE", &self.tls_ca_file);
        let allowed_services = AllowedServices::parse(self.allowed_services.as_deref().unwrap_or_default())
            .map_err(|wrong| {
                for problem in wrong {
                    problems.add("ALLOWED_SERVICES", problem);
                }
            })
            .ok();
        Some(TlsFiles {
            cert: cert?,
            key: key?,
            ca: ca?,
            allowed_services: allowed_services?,
        })
    }
}
