//! Who calls: the handshake has checked the chain, here the name is.

use skerry_proto::{ErrorCode, Refusal};
use tonic::{Request, Status};
use x509_parser::{extensions::GeneralName, prelude::FromDer as _};

/// The name in the coordinator's certificate.
pub const COORDINATOR_NAME: &str = "coordinator.skerry";

/// Lets the coordinator alone pass.
///
/// # Errors
/// If the peer's certificate isn't the coordinator's.
pub(crate) fn is_coordinator<T>(request: &Request<T>) -> Result<(), Status> {
    let named = request
        .peer_certs()
        .and_then(|chain| chain.first().map(|first| first.as_ref().to_vec()))
        .is_some_and(|certificate| names(&certificate, COORDINATOR_NAME));
    if named {
        Ok(())
    } else {
        Err(Refusal::new(
            ErrorCode::PermissionDenied,
            "only the federation's coordinator may ask a node",
            "",
        )
        .into())
    }
}

/// Whether a DER certificate has this DNS name.
fn names(certificate: &[u8], wanted: &str) -> bool {
    let Ok((_, certificate)) = x509_parser::certificate::X509Certificate::from_der(certificate)
    else {
        return false;
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return false;
    };
    names
        .value
        .general_names
        .iter()
        .any(|name| matches!(name, GeneralName::DNSName(name) if *name == wanted))
}
