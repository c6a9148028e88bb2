//! What the doctor finds in a federation that somebody has broken.

use std::{fs, path::Path};

use skerry_node::doctor::{Finding, Verdict, doctor};

use crate::support::write_randhie;

async fn wrong(folder: &Path) -> Vec<Finding> {
    let mut findings = doctor(&folder.join("1/node.toml")).await;
    findings.retain(|finding| finding.verdict == Verdict::Wrong);
    findings
}

#[tokio::test]
async fn finds_what_is_wrong_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    write_randhie(place);
    assert_eq!(wrong(place).await, []);
    assert!(
        !place.join("1/ledger.sqlite").exists(),
        "the doctor changes nothing"
    );

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let key = place.join("1/node.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let found = wrong(place).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].advice.starts_with("chmod 600 "), "{found:?}");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    }

    // Another region's certificate: of another key, with another name.
    let own = fs::read(place.join("1/node.pem")).unwrap();
    fs::copy(place.join("2/node.pem"), place.join("1/node.pem")).unwrap();
    let found = wrong(place).await;
    let messages: Vec<&str> = found
        .iter()
        .map(|finding| finding.message.as_str())
        .collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(
        messages[0].contains("not the certificate's"),
        "{messages:?}"
    );
    assert!(
        messages[1].contains("does not name 1.node.skerry"),
        "{messages:?}"
    );
    fs::write(place.join("1/node.pem"), own).unwrap();

    // Another federation's authority.
    let authority = place.join("1/federation-ca.pem");
    let own = fs::read(&authority).unwrap();
    fs::copy(place.join("researchers-ca.pem"), &authority).unwrap();
    let found = wrong(place).await;
    assert!(found[0].message.contains("not signed"), "{found:?}");
    fs::write(&authority, own).unwrap();

    // A column that the file doesn't have.
    let config = place.join("1/node.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("mdvis ", "mdvisits ")).unwrap();
    let found = wrong(place).await;
    assert!(found[0].message.contains("mdvisits"), "{found:?}");
    fs::write(&config, text.replace("persons", "person")).unwrap();
    let found = wrong(place).await;
    assert!(
        found[0].message.contains("did you mean `persons`?"),
        "{found:?}"
    );
}
