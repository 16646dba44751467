//! A certificate authority for development, and the certificates that it issues.
//!
//! The certificates are files, as in production: `ca.pem`, and `<name>.pem` with `<name>.key` (mode 0600) for each
//! name. They are reused until shortly before they expire.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use chrono::{Datelike, Days, NaiveDate, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use x509_parser::{parse_x509_certificate, pem::parse_x509_pem};

use crate::secrets::write_private;

/// The names that get a certificate. Each name is the first DNS name of its certificate. `backend` and `worker`
/// are the product's own programs, for developers and tests: see [`Environment`](crate::environment::Environment).
/// `stranger` is a service that neither service admits.
const NAMES: [&str; 7] = [
    "identity",
    "data",
    "postgres",
    "pgbouncer",
    "backend",
    "worker",
    "stranger",
];

/// The validity of the authority's own certificate, in days.
const AUTHORITY_DAYS: u64 = 3650;
/// The validity of a certificate, in days.
const LEAF_DAYS: u64 = 90;
/// A certificate that expires in fewer days is replaced.
const RENEW_DAYS: i64 = 14;

/// A directory with a certificate authority and the certificates that it issued.
#[derive(Clone, Debug)]
pub struct Certificates {
    directory: PathBuf,
}

/// The files of one certificate.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The path of the certificate, in PEM.
    pub certificate: PathBuf,
    /// The path of its private key, in PEM.
    pub key: PathBuf,
}

impl Certificates {
    /// Opens `directory`, and creates the certificates that are missing or expire soon.
    pub fn keep(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let certificates = Self {
            directory: directory.to_owned(),
        };
        let mut renew = false;
        if !is_valid(&certificates.authority()) {
            certificates.make_authority()?;
            renew = true;
        }
        for name in NAMES {
            let leaf = certificates.leaf(name);
            if renew || !leaf.key.exists() || !is_valid(&leaf.certificate) {
                certificates.issue(name)?;
            }
        }
        Ok(certificates)
    }

    /// Returns the path of the authority's certificate, which clients and services trust.
    pub fn authority(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Returns the paths of the certificate of `name`.
    pub fn leaf(&self, name: &str) -> Leaf {
        let file = |extension| self.directory.join(name).with_extension(extension);
        Leaf {
            certificate: file("pem"),
            key: file("key"),
        }
    }

    /// Issues a certificate for the service `name`, for use as a server and as a client. It replaces the previous one.
    pub fn issue(&self, name: &str) -> Result<Leaf> {
        let names = [name, "localhost", "127.0.0.1", "::1"];
        let mut params = CertificateParams::new(names.map(String::from))?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, LEAF_DAYS)?;

        let authority_key = KeyPair::from_pem(&fs::read_to_string(self.authority_key())?)?;
        let issuer = Issuer::from_ca_cert_pem(&fs::read_to_string(self.authority())?, authority_key)?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        let leaf = self.leaf(name);
        write_private(&leaf.key, key.serialize_pem().as_bytes())?;
        write(&leaf.certificate, &certificate.pem())?;
        Ok(leaf)
    }

    /// Creates the authority, and replaces an existing one.
    fn make_authority(&self) -> Result<()> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Haven development authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, AUTHORITY_DAYS)?;
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        write_private(&self.authority_key(), issuer.key().serialize_pem().as_bytes())?;
        write(&self.authority(), &issuer.pem())
    }

    fn authority_key(&self) -> PathBuf {
        self.directory.join("ca.key")
    }
}

/// Creates the file of an ES256 signing key (P-256, PKCS#8, PEM) if it does not exist.
pub fn keep_signing_key(path: &Path) -> Result<()> {
    match path.exists() {
        true => Ok(()),
        false => write_private(path, KeyPair::generate()?.serialize_pem().as_bytes()),
    }
}

/// Makes the certificate valid from yesterday on, for `days` from today.
fn set_validity(params: &mut CertificateParams, days: u64) -> Result<()> {
    let today = Utc::now().date_naive();
    // The certificate is valid from yesterday, to allow for time zones and clock differences.
    let first = today
        .checked_sub_days(Days::new(1))
        .context("the system clock is wrong")?;
    let last = today
        .checked_add_days(Days::new(days))
        .context("the system clock is wrong")?;
    let at = |date: NaiveDate| date_time_ymd(date.year(), date.month() as u8, date.day() as u8);
    (params.not_before, params.not_after) = (at(first), at(last));
    Ok(())
}

/// Returns true if the certificate exists, can be parsed, and is valid for more than [`RENEW_DAYS`].
fn is_valid(certificate: &Path) -> bool {
    let left = || -> Result<i64> {
        let pem = fs::read(certificate)?;
        let (_, pem) = parse_x509_pem(&pem)?;
        let (rest, parsed) = parse_x509_certificate(&pem.contents)?;
        ensure!(rest.is_empty(), "unexpected data after the certificate");
        Ok(parsed.validity().not_after.timestamp() - Utc::now().timestamp())
    };
    left().is_ok_and(|seconds| seconds > RENEW_DAYS * 24 * 60 * 60)
}

/// Writes a file atomically.
fn write(path: &Path, pem: &str) -> Result<()> {
    // A service that watches the file never reads a partial one.
    let draft = path.with_extension("draft");
    fs::write(&draft, pem)?;
    fs::rename(&draft, path).with_context(|| format!("writing {}", path.display()))
}
