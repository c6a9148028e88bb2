//! Who gets a handshake.

use std::path::Path;

use skerry::authority;
use skerry_coordinator::client::{Client, Credentials};
use skerry_proto::wire::{CatalogueRequest, HealthRequest};
use tempfile::TempDir;

use crate::{
    sites::{Randhie, randhie, start, write_federation},
    twins::federation_without_person,
    wire::{as_coordinator, connect},
};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_or_missing_certificates_get_no_handshake() {
    no_handshake(&randhie("10.0").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_do_they_where_one_person_is_not_in_the_data() {
    no_handshake(&start(federation_without_person().await).await).await;
}

async fn no_handshake(sites: &Randhie) {
    let folder = sites.folder();
    let (region, address) = sites.federation.regions().remove(0);
    let region = region.as_str();
    let authority = folder.join("federation-ca.pem");
    let stranger = TempDir::new().unwrap();
    write_federation(stranger.path(), "10.0");
    let strange = stranger.path().join("federation");
    let pair = |folder: &Path, name: &str| {
        (
            folder.join(format!("{name}.pem")),
            folder.join(format!("{name}.key")),
        )
    };
    let wrong = [
        (
            "another federation's coordinator",
            pair(&strange, "coordinator"),
        ),
        (
            "a researcher",
            pair(&folder.join("researcher"), "researcher"),
        ),
        ("another region's node", pair(&folder.join("2"), "node")),
    ];
    for (who, (certificate, key)) in &wrong {
        assert!(
            no_answer(connect(address, region, &authority, Some((certificate, key))).await).await,
            "{who}"
        );
    }
    assert!(
        no_answer(connect(address, region, &authority, None).await).await,
        "nobody"
    );
    // The caller checks too: this node is not region 2, and not of the other federation.
    let (certificate, key) = pair(&folder, "coordinator");
    assert!(no_answer(connect(address, "2", &authority, Some((&certificate, &key))).await).await);
    let other = strange.join("federation-ca.pem");
    assert!(no_answer(connect(address, region, &other, Some((&certificate, &key))).await).await);
    let mut right = as_coordinator(&folder, address, region).await;
    assert!(
        right
            .get_health(HealthRequest {})
            .await
            .unwrap()
            .into_inner()
            .ready
    );
}

/// With TLS 1.3 a client may learn at its first call that its certificate was refused.
async fn no_answer(connected: Result<crate::wire::NodeClient, tonic::transport::Error>) -> bool {
    match connected {
        Err(_) => true,
        Ok(mut client) => client.get_catalogue(CatalogueRequest {}).await.is_err(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_no_researcher() {
    let sites = randhie("10.0").await;
    let stranger = TempDir::new().unwrap();
    write_federation(stranger.path(), "10.0");
    let folder = sites.folder();
    let mut credentials =
        Credentials::load(&stranger.path().join("federation/researcher")).unwrap();
    credentials.authority = std::fs::read(folder.join("federation-ca.pem")).unwrap();
    let refused = match Client::connect(&sites.federation.url(), &credentials).await {
        Err(_) => true,
        Ok(client) => client.catalogue().await.is_err(),
    };
    assert!(refused);
}

/// A coordinator's certificate of the right authority, from long ago.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_gets_no_handshake() {
    let sites = randhie("10.0").await;
    let folder = sites.folder();
    let (region, address) = sites.federation.regions().remove(0);
    let read = |name: &str| std::fs::read_to_string(folder.join("authority").join(name)).unwrap();
    let key = rcgen::KeyPair::from_pem(&read("federation-ca.key")).unwrap();
    let authority = rcgen::Issuer::from_ca_cert_pem(&read("federation-ca.pem"), key).unwrap();
    let place = TempDir::new().unwrap();
    let file = |name: &str| place.path().join(name);
    for (name, last_year) in [("expired", 2020), ("valid", 2090)] {
        let names = vec![authority::COORDINATOR_NAME.to_owned()];
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, authority::COORDINATOR_NAME);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        std::fs::write(file(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    let knock = async |name: &str| {
        let certificate = file(&format!("{name}.pem"));
        let key = file(&format!("{name}.key"));
        let authority = folder.join("federation-ca.pem");
        let identity = Some((certificate.as_path(), key.as_path()));
        no_answer(connect(address, region.as_str(), &authority, identity).await).await
    };
    assert!(knock("expired").await);
    assert!(!knock("valid").await, "the date alone makes the difference");
}
