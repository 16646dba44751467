//! A certificate authority for development, and the certificates it issues.
//!
//! Files, because that is what services are given: `ca.pem`, and `<name>.pem` with `<name>.key` (mode 0600) for each
//! name. They are reused until they are near their end.

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

/// Who gets a certificate. The services' peers find the name in the first DNS name; `backend` is a service that both
/// admit, for developers and tests; `stranger` is one that nobody admits.
const NAMES: [&str; 5] = ["identity", "data", "postgres", "backend", "stranger"];

/// How long the authority's own certificate is valid.
const AUTHORITY_DAYS: u64 = 3650;
/// How long a certificate is valid.
const LEAF_DAYS: u64 = 90;
/// A certificate with less than this left is made anew.
const RENEW_DAYS: i64 = 14;

/// A directory with an authority and its certificates.
#[derive(Clone, Debug)]
pub struct Certificates {
    directory: PathBuf,
}

/// The files of one certificate.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

impl Certificates {
    /// Makes what is missing in `directory`, or near its end.
    pub fn keep(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let certificates = Self {
            directory: directory.to_owned(),
        };
        let mut renew = false;
        if !lasts(&certificates.authority()) {
            certificates.make_authority()?;
            renew = true;
        }
        for name in NAMES {
            let leaf = certificates.leaf(name);
            if renew || !leaf.key.exists() || !lasts(&leaf.certificate) {
                certificates.issue(name)?;
            }
        }
        Ok(certificates)
    }

    /// The authority's certificate: what clients and services trust.
    pub fn authority(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// The files of the certificate for `name`.
    pub fn leaf(&self, name: &str) -> Leaf {
        let file = |extension| self.directory.join(name).with_extension(extension);
        Leaf {
            certificate: file("pem"),
            key: file("key"),
        }
    }

    /// Issues a certificate for the service `name`, for server and client use alike, in place of the one it had.
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
        last_for(&mut params, LEAF_DAYS)?;

        let authority_key = KeyPair::from_pem(&fs::read_to_string(self.authority_key())?)?;
        let issuer = Issuer::from_ca_cert_pem(&fs::read_to_string(self.authority())?, authority_key)?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        let leaf = self.leaf(name);
        write_private(&leaf.key, key.serialize_pem().as_bytes())?;
        write(&leaf.certificate, &certificate.pem())?;
        Ok(leaf)
    }

    fn make_authority(&self) -> Result<()> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Haven development authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        last_for(&mut params, AUTHORITY_DAYS)?;
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        write_private(&self.authority_key(), issuer.key().serialize_pem().as_bytes())?;
        write(&self.authority(), &issuer.pem())
    }

    fn authority_key(&self) -> PathBuf {
        self.directory.join("ca.key")
    }
}

/// Makes the file of an ES256 signing key (P-256, PKCS#8 PEM) where there is none yet.
pub fn keep_signing_key(path: &Path) -> Result<()> {
    match path.exists() {
        true => Ok(()),
        false => write_private(path, KeyPair::generate()?.serialize_pem().as_bytes()),
    }
}

fn last_for(params: &mut CertificateParams, days: u64) -> Result<()> {
    let today = Utc::now().date_naive();
    // From yesterday, whatever the time zone and however the clocks differ.
    let first = today.checked_sub_days(Days::new(1)).context("the clock is off")?;
    let last = today
        .checked_add_days(Days::new(days))
        .context("the clock is off")?;
    let at = |date: NaiveDate| date_time_ymd(date.year(), date.month() as u8, date.day() as u8);
    (params.not_before, params.not_after) = (at(first), at(last));
    Ok(())
}

fn lasts(certificate: &Path) -> bool {
    let left = || -> Result<i64> {
        let pem = fs::read(certificate)?;
        let (_, pem) = parse_x509_pem(&pem)?;
        let (rest, parsed) = parse_x509_certificate(&pem.contents)?;
        ensure!(rest.is_empty(), "more than a certificate");
        Ok(parsed.validity().not_after.timestamp() - Utc::now().timestamp())
    };
    left().is_ok_and(|seconds| seconds > RENEW_DAYS * 24 * 60 * 60)
}

fn write(path: &Path, pem: &str) -> Result<()> {
    // A service that watches the file never sees half of it.
    let draft = path.with_extension("draft");
    fs::write(&draft, pem)?;
    fs::rename(&draft, path).with_context(|| format!("writing {}", path.display()))
}
