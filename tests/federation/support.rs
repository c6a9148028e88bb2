//! A federation for tests.

use std::path::{Path, PathBuf};

use skerry::{
    federation::{Federation, start},
    init::{InitOptions, init},
};
use skerry_coordinator::client::{Client, Credentials};

/// The six sites of the RAND Health Insurance Experiment, at free ports.
pub fn write_randhie(folder: &Path) {
    let policy = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("samples/randhie/policy.toml");
    init(&InitOptions {
        folder: folder.to_owned(),
        regions: Vec::new(),
        data: None,
        unit: None,
        policy: Some(policy),
        port: 0,
    })
    .unwrap();
}

/// Starts it, and connects as its researcher.
pub async fn start_and_connect(folder: &Path) -> (Federation, Client) {
    let federation = start(folder).await.unwrap();
    let credentials = Credentials::load(&folder.join("researcher")).unwrap();
    let client = Client::connect(&federation.url(), &credentials)
        .await
        .unwrap();
    (federation, client)
}
