//! How a command reaches the coordinator.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use skerry_coordinator::client::{Client, Credentials};
use skerry_proto::{ErrorCode, Refusal};

use crate::{
    federation::{COORDINATOR_FILE, address},
    output::Format,
};

#[derive(Debug, Args)]
pub struct Connection {
    /// A federation's folder, with its address and a researcher's key; left out: this folder
    #[arg(long, value_name = "DIR")]
    federation: Option<PathBuf>,
    /// The coordinator's address, as in https://skerry.example:7500
    #[arg(long, value_name = "URL", requires = "identity")]
    url: Option<String>,
    /// The folder with researcher.pem, researcher.key and federation-ca.pem; left out: that of
    /// the federation
    #[arg(long, value_name = "DIR")]
    identity: Option<PathBuf>,
}

impl Connection {
    /// Connects.
    pub async fn open(&self) -> Result<Client, Refusal> {
        let (url, identity, start) = match &self.url {
            Some(url) => (url.clone(), self.identity.clone().unwrap_or_default(), None),
            None => {
                let folder = self.folder()?;
                let url = format!("https://{}", address(&folder)?);
                let identity = self
                    .identity
                    .clone()
                    .unwrap_or_else(|| folder.join("researcher"));
                (url, identity, Some(folder))
            }
        };
        let connected = Client::connect(&url, &Credentials::load(&identity)?).await;
        connected.map_err(|refusal| match start {
            Some(folder) if refusal.code == ErrorCode::Unavailable => Refusal::new(
                ErrorCode::Unavailable,
                refusal.message,
                format!("start it with: skerry up {}", folder.display()),
            ),
            _ => refusal,
        })
    }

    fn folder(&self) -> Result<PathBuf, Refusal> {
        let folder = self
            .federation
            .clone()
            .unwrap_or_else(|| PathBuf::from("."));
        if folder.join(COORDINATOR_FILE).exists() {
            Ok(folder)
        } else {
            Err(Refusal::new(
                ErrorCode::Configuration,
                format!(
                    "{} is no federation: it has no {COORDINATOR_FILE}",
                    folder.display()
                ),
                "name one with --federation DIR, write one with `skerry init DIR`, or try `skerry demo`",
            ))
        }
    }
}

/// How a listing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ListFormat {
    /// For people.
    #[default]
    Table,
    /// One object.
    Json,
}

impl From<ListFormat> for Format {
    fn from(format: ListFormat) -> Self {
        match format {
            ListFormat::Table => Self::Table,
            ListFormat::Json => Self::Json,
        }
    }
}
