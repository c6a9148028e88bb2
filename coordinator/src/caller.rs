//! Who is calling: the certificate that the connection was made with.

use sha2::{Digest, Sha256};
use skerry_proto::{ErrorCode, Refusal};
use tonic::{Request, Status};
use x509_parser::prelude::{FromDer, X509Certificate};

/// A researcher, as their certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Of the certificate, all of it.
    pub fingerprint: [u8; 32],
    /// The certificate's common name.
    pub name: String,
}

impl Caller {
    /// The caller of a request. The handshake has already checked who signed the certificate.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let refused = || {
            Status::from(Refusal::new(
                ErrorCode::PermissionDenied,
                "a call needs a researcher's certificate",
                "Connect with the certificate and key that your federation gave you.",
            ))
        };
        let certificates = request.peer_certs().ok_or_else(refused)?;
        let certificate = certificates.first().ok_or_else(refused)?;
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| refused())?;
        let name = parsed
            .subject()
            .iter_common_name()
            .next()
            .and_then(|name| name.as_str().ok())
            .ok_or_else(refused)?;
        Ok(Self {
            fingerprint: Sha256::digest(certificate.as_ref()).into(),
            name: name.to_owned(),
        })
    }
}
