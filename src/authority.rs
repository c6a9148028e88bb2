//! Keys and certificates of a federation. Two authorities, so that who may ask and who may
//! answer never mix: `federation` signs nodes and the coordinator, `researchers` signs people.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    time::SystemTime,
};

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use skerry_proto::RegionId;

/// The name by which nodes know the coordinator.
pub const COORDINATOR_NAME: &str = "coordinator.skerry";
const AUTHORITY_DAYS: i64 = 3650;
const CERTIFICATE_DAYS: i64 = 365;

/// Why keys or certificates can't be made or written.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A name that no certificate can carry, or a failure of the random generator.
    #[error("a certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// An authority: signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its private key, both in PEM.
pub struct Identity {
    certificate: String,
    key: KeyPair,
}

impl Authority {
    /// A new authority of that name.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(name: &str) -> Result<Self, AuthorityError> {
        let mut params = parameters(name, &[], AUTHORITY_DAYS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        Ok(Self(CertifiedIssuer::self_signed(params, key)?))
    }

    /// The authority's certificate, in PEM: what others need to check what it signed.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// A node's identity: it only ever answers, so that it can't pose as a coordinator.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn node(&self, region: &RegionId) -> Result<Identity, AuthorityError> {
        let name = node_name(region);
        self.sign(
            &name,
            &[&name, "localhost", "127.0.0.1", "::1"],
            &[ExtendedKeyUsagePurpose::ServerAuth],
        )
    }

    /// The coordinator's identity: it answers researchers and asks nodes.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn coordinator(&self) -> Result<Identity, AuthorityError> {
        self.sign(
            COORDINATOR_NAME,
            &[COORDINATOR_NAME, "localhost", "127.0.0.1", "::1"],
            &[
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
        )
    }

    /// A researcher's identity: it only asks.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn researcher(&self, name: &str) -> Result<Identity, AuthorityError> {
        self.sign(name, &[], &[ExtendedKeyUsagePurpose::ClientAuth])
    }

    fn sign(
        &self,
        name: &str,
        alternative_names: &[&str],
        usages: &[ExtendedKeyUsagePurpose],
    ) -> Result<Identity, AuthorityError> {
        let mut params = parameters(name, alternative_names, CERTIFICATE_DAYS)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages.to_vec();
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?.pem();
        Ok(Identity { certificate, key })
    }

    /// Writes `FOLDER/NAME-ca.pem` and `FOLDER/NAME-ca.key`.
    ///
    /// # Errors
    /// When a file is there already or can't be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<(), AuthorityError> {
        write_new(&folder.join(format!("{name}-ca.pem")), &self.0.pem(), false)?;
        let key = self.0.key().serialize_pem();
        write_new(&folder.join(format!("{name}-ca.key")), &key, true)
    }
}

impl Identity {
    /// Writes `FOLDER/NAME.pem` and `FOLDER/NAME.key`.
    ///
    /// # Errors
    /// When a file is there already or can't be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<(), AuthorityError> {
        write_new(
            &folder.join(format!("{name}.pem")),
            &self.certificate,
            false,
        )?;
        let key = self.key.serialize_pem();
        write_new(&folder.join(format!("{name}.key")), &key, true)
    }
}

/// The name by which the coordinator knows a region's node.
#[must_use]
pub fn node_name(region: &RegionId) -> String {
    format!("{region}.node.skerry")
}

fn parameters(
    name: &str,
    alternative_names: &[&str],
    days: i64,
) -> Result<CertificateParams, AuthorityError> {
    let names: Vec<String> = alternative_names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Skerry");
    // From yesterday: clocks of regions differ.
    let (year, month, day) = date(-1);
    params.not_before = date_time_ymd(year, month, day);
    let (year, month, day) = date(days);
    params.not_after = date_time_ymd(year, month, day);
    Ok(params)
}

fn date(days_from_now: i64) -> (i32, u8, u8) {
    let date = DateTime::<Utc>::from(SystemTime::now()) + TimeDelta::days(days_from_now);
    // Months and days fit eight bits.
    (date.year(), date.month() as u8, date.day() as u8)
}

/// Writes a file that must not be there yet; a secret is its owner's alone.
///
/// # Errors
/// When the file is there already or can't be written.
pub fn write_new(path: &Path, text: &str, secret: bool) -> Result<(), AuthorityError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(if secret { 0o600 } else { 0o644 });
    }
    options
        .open(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .map_err(|source| AuthorityError::File {
            path: path.display().to_string(),
            source,
        })
}
