//! A node's key and certificates.

use std::{fs, path::Path};

use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _, time::ASN1Time,
};

use super::{Finding, Verdict};
use crate::config::NodeConfig;

/// From here on an end is near enough to act on.
const SOON_DAYS: i64 = 30;

/// What was found.
pub fn findings(config: &NodeConfig) -> Vec<Finding> {
    let mut findings = vec![private(&config.tls.key)];
    let certificate = certificate("certificate", &config.tls.certificate, &mut findings);
    let authority = certificate_of_authority(config, &mut findings);
    let Some(certificate) = certificate else {
        return findings;
    };
    findings.push(matching(&certificate, &config.tls.key));
    if let Ok((_, parsed)) = X509Certificate::from_der(&certificate) {
        findings.push(validity("certificate", &parsed));
        findings.push(names(&parsed, config));
        findings.push(usage(&parsed));
        if let Some(authority) = authority
            && let Ok((_, authority)) = X509Certificate::from_der(&authority)
        {
            findings.push(signature(&parsed, &authority));
        }
    }
    findings
}

fn private(key: &Path) -> Finding {
    let subject = "key";
    let shown = key.display();
    match fs::metadata(key) {
        Err(error) => Finding::wrong(
            subject,
            format!("{shown}: {error}"),
            "`skerry init` writes keys",
        ),
        #[cfg(unix)]
        Ok(metadata)
            if {
                use std::os::unix::fs::PermissionsExt as _;
                metadata.permissions().mode() & 0o077 != 0
            } =>
        {
            Finding::wrong(
                subject,
                format!("{shown} can be read by others than its owner"),
                &format!("chmod 600 {shown}"),
            )
        }
        Ok(_) => Finding::right(subject, format!("{shown} is its owner's alone")),
    }
}

fn certificate_of_authority(
    config: &NodeConfig,
    findings: &mut Vec<Finding>,
) -> Option<CertificateDer<'static>> {
    let authority = certificate("authority", &config.tls.client_authority, findings)?;
    if let Ok((_, parsed)) = X509Certificate::from_der(&authority) {
        findings.push(if parsed.is_ca() {
            validity("authority", &parsed)
        } else {
            Finding::wrong(
                "authority",
                "this certificate is of no authority",
                "`client_authority` is the federation's federation-ca.pem",
            )
        });
    }
    Some(authority)
}

fn certificate(
    subject: &str,
    path: &Path,
    findings: &mut Vec<Finding>,
) -> Option<CertificateDer<'static>> {
    match CertificateDer::from_pem_file(path) {
        Ok(certificate) if X509Certificate::from_der(&certificate).is_ok() => Some(certificate),
        Ok(_) => {
            let message = format!("{} holds no X.509 certificate", path.display());
            findings.push(Finding::wrong(subject, message, "put a PEM file there"));
            None
        }
        Err(error) => {
            let message = format!("{}: {error}", path.display());
            findings.push(Finding::wrong(subject, message, "put a PEM file there"));
            None
        }
    }
}

fn matching(certificate: &CertificateDer<'static>, key: &Path) -> Finding {
    let subject = "key";
    let loaded = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| error.to_string())
        .and_then(|key| any_supported_type(&key).map_err(|error| error.to_string()));
    match loaded {
        Err(error) => Finding::wrong(
            subject,
            format!("{}: {error}", key.display()),
            "put a PEM file with a PKCS#8 key there",
        ),
        Ok(key) => match CertifiedKey::new(vec![certificate.clone()], key).keys_match() {
            Ok(()) => Finding::right(subject, "fits the certificate"),
            Err(_) => Finding::wrong(
                subject,
                "is not the certificate's",
                "key and certificate come as a pair: bring the two from one place",
            ),
        },
    }
}

fn validity(subject: &str, certificate: &X509Certificate<'_>) -> Finding {
    let validity = certificate.validity();
    let renew = "have the federation's authority sign a new one";
    let now = ASN1Time::now();
    if now < validity.not_before {
        let message = format!("is not valid before {}", validity.not_before);
        return Finding::wrong(subject, message, "is this machine's clock right?");
    }
    if now > validity.not_after {
        let message = format!("ended on {}", validity.not_after);
        return Finding::wrong(subject, message, renew);
    }
    let days = (validity.not_after.timestamp() - now.timestamp()) / 86_400;
    if days < SOON_DAYS {
        let message = format!("ends in {days} days");
        return Finding::new(Verdict::Doubtful, subject, message, renew);
    }
    Finding::right(subject, format!("valid for {days} more days"))
}

fn names(certificate: &X509Certificate<'_>, config: &NodeConfig) -> Finding {
    let wanted = format!("{}.node.skerry", config.region);
    let found: Vec<String> = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|names| &names.value.general_names)
        .into_iter()
        .flatten()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
        .collect();
    if found.contains(&wanted) {
        Finding::right("certificate", format!("names {wanted}"))
    } else {
        Finding::wrong(
            "certificate",
            format!("does not name {wanted}, but {}", found.join(", ")),
            "the coordinator will not believe that this is the region's node",
        )
    }
}

fn usage(certificate: &X509Certificate<'_>) -> Finding {
    let usage = certificate.extended_key_usage().ok().flatten();
    match usage {
        Some(usage) if !usage.value.server_auth => Finding::wrong(
            "certificate",
            "is not for a server",
            "a node's certificate has the extended usage serverAuth",
        ),
        Some(usage) if usage.value.client_auth => Finding::new(
            Verdict::Doubtful,
            "certificate",
            "is for a client too, so that it could ask other nodes",
            "a node's certificate needs the extended usage serverAuth alone",
        ),
        _ => Finding::right("certificate", "is for a server"),
    }
}

fn signature(certificate: &X509Certificate<'_>, authority: &X509Certificate<'_>) -> Finding {
    match certificate.verify_signature(Some(authority.public_key())) {
        Ok(()) => Finding::right("certificate", "signed by the federation's authority"),
        Err(_) => Finding::wrong(
            "certificate",
            "is not signed by the federation's authority",
            "certificate and federation-ca.pem must be of one federation",
        ),
    }
}
