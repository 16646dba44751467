//! The Secrets and ConfigMaps that pods mount, made as an installation makes them: by `new-secrets`, by cert-manager from
//! the Certificates, and by CloudNativePG.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context, Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use haven_testkit::{certificates::Certificates, workspace};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use serde_json::Value;

use super::overlay::{Overlay, text, texts};

/// The contents by the name of the Secret or ConfigMap, and by key.
#[derive(Clone, Debug, Default)]
pub(super) struct SecretStore {
    pub(super) secrets: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    pub(super) config_maps: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

impl SecretStore {
    /// Makes everything that `overlay` refers to. All certificates come from the authority of `certificates`.
    pub(super) fn make(overlay: &Overlay, certificates: &Certificates) -> Result<Self> {
        let mut store = Self {
            secrets: new_secrets()?,
            config_maps: BTreeMap::new(),
        };
        for map in overlay.all("ConfigMap") {
            let data = map["data"].as_object().context("a ConfigMap without data")?;
            let data = data.iter().map(|(key, value)| (key.clone(), value.as_str()));
            let data = data.map(|(key, value)| (key, value.unwrap_or_default().as_bytes().to_vec()));
            store
                .config_maps
                .insert(text(map, "/metadata/name").to_owned(), data.collect());
        }
        let authority = fs::read(certificates.authority())?;
        for certificate in overlay.all("Certificate") {
            let name = text(certificate, "/spec/secretName").to_owned();
            let mut files = issue(certificate, certificates)?;
            files.insert("ca.crt".to_owned(), authority.clone());
            let previous = store.secrets.insert(name.clone(), files);
            ensure!(previous.is_none(), "two Certificates write the Secret {name}");
        }
        for cluster in overlay.all("Cluster") {
            // CloudNativePG names it so.
            let name = format!("{}-ca", text(cluster, "/metadata/name"));
            let files = BTreeMap::from([("ca.crt".to_owned(), authority.clone())]);
            store.secrets.insert(name, files);
        }
        Ok(store)
    }

    /// Returns the password of a Secret for a login, of the type that CloudNativePG demands.
    pub(super) fn password(&self, secret: &str, login: &str) -> Result<String> {
        let files = self
            .secrets
            .get(secret)
            .with_context(|| format!("no Secret {secret}"))?;
        ensure!(
            files.get("username").is_some_and(|name| name == login.as_bytes()),
            "the Secret {secret} is not that of {login}"
        );
        let password = files.get("password").context("no password")?.clone();
        Ok(String::from_utf8(password)?)
    }
}

/// Runs `deploy/kubernetes/new-secrets`, and returns the Secrets that it prints.
pub(super) fn new_secrets() -> Result<BTreeMap<String, BTreeMap<String, Vec<u8>>>> {
    let output = Command::new(workspace::root().join("deploy/kubernetes/new-secrets")).output()?;
    ensure!(
        output.status.success(),
        "new-secrets: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let documents: Vec<Value> = serde_saphyr::from_multiple(std::str::from_utf8(&output.stdout)?)?;
    let mut secrets = BTreeMap::new();
    for secret in documents.iter().filter(|document| document["kind"] == "Secret") {
        let data = secret["data"].as_object().context("a Secret without data")?;
        let decoded = data.iter().map(|(key, value)| {
            let value = BASE64_STANDARD.decode(value.as_str().unwrap_or_default())?;
            Ok((key.clone(), value))
        });
        secrets.insert(
            text(secret, "/metadata/name").to_owned(),
            decoded.collect::<Result<_>>()?,
        );
    }
    Ok(secrets)
}

/// Issues what a Certificate describes. It also is for `localhost`, which takes the place of every DNS name in a test.
fn issue(certificate: &Value, certificates: &Certificates) -> Result<BTreeMap<String, Vec<u8>>> {
    let names = texts(certificate, "/spec/dnsNames");
    let names = names.into_iter().chain(["localhost"]).map(str::to_owned);
    let mut params = CertificateParams::new(names.collect::<Vec<_>>())?;
    for usage in texts(certificate, "/spec/usages") {
        params.extended_key_usages.extend(match usage {
            "server auth" => Some(ExtendedKeyUsagePurpose::ServerAuth),
            "client auth" => Some(ExtendedKeyUsagePurpose::ClientAuth),
            _ => None,
        });
    }
    let authority = certificates.authority();
    let key = KeyPair::from_pem(&fs::read_to_string(authority.with_extension("key"))?)?;
    let issuer = Issuer::from_ca_cert_pem(&fs::read_to_string(&authority)?, key)?;
    let key = KeyPair::generate()?;
    let signed = params.signed_by(&key, &issuer)?;
    Ok(BTreeMap::from([
        ("tls.crt".to_owned(), signed.pem().into_bytes()),
        ("tls.key".to_owned(), key.serialize_pem().into_bytes()),
    ]))
}
