//! TLS for servers and clients, with certificates that are reloaded when their files change.
//!
//! tonic's own TLS configuration is fixed when a server starts. Here each new connection, in either direction, uses the
//! current configuration, so that cert-manager can replace a certificate without a restart.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio_util::sync::CancellationToken;

use crate::{allowed_services::AllowedServices, certificate_expiry, scopes::Scopes, task_rounds::TaskRounds};

/// The interval between two checks of the files.
const INTERVAL: Duration = Duration::from_secs(5);

/// The paths of the certificate files, and the services that may call.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The path of the certificate and its chain, PEM.
    pub cert: PathBuf,
    /// The path of the private key, PEM.
    pub key: PathBuf,
    /// The path of the trusted authorities' certificates, PEM.
    pub ca: PathBuf,
    /// The names in client certificates that may call as a service, with their scopes.
    pub allowed_services: AllowedServices,
}

/// A service's certificate and trusted authorities, kept up to date with their files.
pub struct Tls {
    files: TlsFiles,
    current: ArcSwap<Loaded>,
}

struct Loaded {
    contents: FileContents,
    server: Arc<ServerConfig>,
    web_server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    chain: Vec<CertificateDer<'static>>,
    authorities: Vec<CertificateDer<'static>>,
}

#[derive(PartialEq)]
struct FileContents {
    cert: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
    ca: Vec<u8>,
}

/// The reason why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(String, io::Error),
    /// A file does not contain the expected PEM section.
    #[error("{0}: {1}")]
    Pem(String, rustls::pki_types::pem::Error),
    /// The contents of the files do not match, or are not accepted by rustls.
    #[error("the certificate, its key and the authorities cannot be used together: {0}")]
    Unusable(String),
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when a file is missing or invalid, or the files do not match.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let contents = FileContents::read(&files)?;
        let current = ArcSwap::from_pointee(contents.build(&files)?);
        Ok(Self { files, current })
    }

    /// Returns the configuration for a new connection from a client.
    #[must_use]
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().server)
    }

    /// Returns the configuration for a new connection from a client that may be a browser: it offers HTTP/1.1 too.
    #[must_use]
    pub fn web_server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().web_server)
    }

    /// Returns the configuration for a new connection to a server.
    #[must_use]
    pub fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.current.load().client)
    }

    /// Returns the scopes of a service that has a client certificate with this name; `None` when it may not call.
    pub(crate) fn scopes(&self, name: &str) -> Option<Scopes> {
        self.files.allowed_services.scopes(name)
    }

    /// Reloads the files whenever they change, until `stop` is cancelled. While they cannot be used, the previous
    /// certificates stay in use. Records when the certificates expire.
    pub async fn reload_on_change(self: Arc<Self>, stop: CancellationToken) {
        let rounds = TaskRounds::of("certificates");
        self.current.load().record_expiry();
        let mut complained = false;
        while stop
            .run_until_cancelled(tokio::time::sleep(INTERVAL))
            .await
            .is_some()
        {
            let reloaded = self.reload();
            rounds.count(reloaded.is_ok());
            match reloaded {
                Ok(true) => {
                    self.current.load().record_expiry();
                    tracing::info!("certificates replaced");
                }
                Ok(false) => complained = false,
                Err(error) if !complained => {
                    complained = true;
                    tracing::error!(%error, "the new certificates cannot be used; the old ones stay in use");
                }
                Err(_) => {}
            }
        }
    }

    fn reload(&self) -> Result<bool, TlsError> {
        let contents = FileContents::read(&self.files)?;
        if contents == self.current.load().contents {
            return Ok(false);
        }
        self.current.store(Arc::new(contents.build(&self.files)?));
        Ok(true)
    }
}

impl Loaded {
    fn record_expiry(&self) {
        certificate_expiry::record("service", &self.chain);
        certificate_expiry::record("authority", &self.authorities);
    }
}

impl FileContents {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |path: &std::path::Path| {
            std::fs::read(path).map_err(|error| TlsError::Read(path.display().to_string(), error))
        };
        Ok(Self {
            cert: read(&files.cert)?,
            key: read(&files.key)?.into(),
            ca: read(&files.ca)?,
        })
    }

    fn build(self, files: &TlsFiles) -> Result<Loaded, TlsError> {
        let pem = |path: &std::path::Path| {
            let path = path.display().to_string();
            move |error| TlsError::Pem(path, error)
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.cert)
            .collect::<Result<_, _>>()
            .map_err(pem(&files.cert))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(pem(&files.key))?;
        let mut roots = RootCertStore::empty();
        let authorities: Vec<_> = CertificateDer::pem_slice_iter(&self.ca)
            .collect::<Result<_, _>>()
            .map_err(pem(&files.ca))?;
        for authority in &authorities {
            roots.add(authority.clone()).map_err(unusable)?;
        }
        let (roots, provider) = (Arc::new(roots), provider());

        // Client certificates are optional, because users send a token alone. One that is sent must be valid.
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(unusable)?;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(unusable)?;
        server.alpn_protocols = vec![b"h2".to_vec()];
        let mut web_server = server.clone();
        web_server.alpn_protocols.push(b"http/1.1".to_vec());

        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.clone(), key)
            .map_err(unusable)?;
        client.alpn_protocols = vec![b"h2".to_vec()];

        Ok(Loaded {
            contents: self,
            server: Arc::new(server),
            web_server: Arc::new(web_server),
            client: Arc::new(client),
            chain,
            authorities,
        })
    }
}

fn unusable(error: impl fmt::Display) -> TlsError {
    TlsError::Unusable(error.to_string())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}
