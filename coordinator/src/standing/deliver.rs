//! Tells of alerts: at least once each, always under the same id, so that who is told twice can
//! know it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::Full;
use hyper::{
    Request,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use super::{
    message::Message,
    settings::{Mail, Webhook},
};

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Calls a webhook; done if it answers with a status from 200 to 299. Redirects are not followed.
///
/// # Errors
/// Why not, without the address, which may hold a secret.
pub(super) async fn call(webhook: &Webhook, message: &Message) -> Result<(), String> {
    let call = async {
        let host = webhook.url.host().ok_or("the address has no host")?;
        // An address of IPv6 stands in brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let tls = webhook.url.scheme_str() == Some("https");
        let port = webhook.url.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let stream = TcpStream::connect((host, port))
            .await
            .map_err(|error| format!("no connection: {error}"))?;
        if !tls {
            return post(stream, webhook, message).await;
        }
        let config = trusting(&webhook.authority)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .map_err(|error| format!("no TLS: {error}"))?;
        post(stream, webhook, message).await
    };
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(done) => done,
        Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}

/// Whether a webhook can be called at all, as far as its files say.
///
/// # Errors
/// Why not.
pub(super) fn check(webhook: &Webhook) -> Result<(), String> {
    match webhook.url.scheme_str() {
        Some("https") => trusting(&webhook.authority).map(|_| ()),
        _ => Ok(()),
    }
}

/// TLS that believes those who are named in a PEM file.
fn trusting(authority: &Path) -> Result<ClientConfig, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", authority.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority).map_err(|error| wrong(&error))? {
        // Of a list of public authorities one that can't be read is no reason to trust no other.
        let certificate = certificate.map_err(|error| wrong(&error))?;
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(wrong(&"there is no certificate in it"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

async fn post(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    webhook: &Webhook,
    message: &Message,
) -> Result<(), String> {
    let body = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let path = webhook
        .url
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let host = webhook.url.authority().map_or("", |host| host.as_str());
    let request = Request::post(path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("skerry/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header("idempotency-key", &message.id)
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    // Its body is of no interest.
    connection.abort();
    let status = answer
        .map_err(|error| format!("no answer: {error}"))?
        .status();
    if status.is_success() {
        Ok(())
    } else {
        Err(format!("it answers {status}"))
    }
}

/// Writes a mail's file: under the alert's id, whole or not at all.
///
/// # Errors
/// Why not.
pub(super) fn write(mail: &Mail, message: &Message, raised: DateTime<Utc>) -> Result<(), String> {
    let text = message.mail(mail, raised);
    put(&mail.folder, &message.id, text.as_bytes())
        .map_err(|error| format!("{}: {error}", mail.folder.display()))
}

fn put(folder: &Path, id: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    // Of another name while it is written, so that nobody takes half of it.
    let written = folder.join(format!(".{id}.part"));
    let mut file = File::create(&written)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&written, folder.join(format!("{id}.eml")))?;
    File::open(folder)?.sync_all()
}
