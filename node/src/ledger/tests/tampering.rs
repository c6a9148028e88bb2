//! Whose files these are, and that no earlier or changed state is taken.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn only_its_owner_and_one_node_have_it_open() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&folder).unwrap();
    assert!(matches!(open(&folder), Err(LedgerError::InUse)));
    answer(&ledger, &charge("a", 1), b"");
    assert!(matches!(open(&folder), Err(LedgerError::InUse)));
    for file in FILES {
        let mode = fs::metadata(folder.path().join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    drop(ledger);
    fs::set_permissions(
        folder.path().join(FILES[0]),
        fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    assert!(matches!(open(&folder), Err(LedgerError::Permissions)));
}

#[test]
fn another_region_or_no_ledger_is_refused() {
    let folder = TempDir::new().unwrap();
    drop(open(&folder).unwrap());
    let path = folder.path().join(FILES[0]);
    let budget = Budget {
        project: allowance(1.0),
        total: allowance(1.0),
    };
    let other = Ledger::open(&path, &"lappi".parse().unwrap(), budget);
    assert!(matches!(other, Err(LedgerError::OtherRegion)));

    let folder = TempDir::new().unwrap();
    let path = folder.path().join(FILES[0]);
    fs::write(
        &path,
        b"this is a text file that is long enough to have a header in it",
    )
    .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(open(&folder), Err(LedgerError::Format)));
}

#[test]
fn every_earlier_copy_that_is_put_back_is_refused() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&folder).unwrap();
    let mut copies = Vec::new();
    let mut keep = || {
        let copied = TempDir::new().unwrap();
        copy(folder.path(), copied.path(), &FILES);
        copies.push(copied);
    };
    keep();
    for question in 1..5 {
        let reserved = debit(&ledger, &charge(&format!("q{question}"), question));
        keep();
        ledger.record(reserved, vec![question]).unwrap();
        keep();
        let _reuse = ledger
            .reserve(&charge(&format!("again{question}"), question))
            .unwrap();
        keep();
    }
    let head = ledger.head().unwrap();
    drop(ledger);

    let latest = copies.pop().unwrap();
    for earlier in &copies {
        copy(earlier.path(), folder.path(), &FILES[..2]);
        assert!(matches!(open(&folder), Err(LedgerError::RolledBack)));
    }
    copy(latest.path(), folder.path(), &FILES[..2]);
    assert_eq!(open(&folder).unwrap().head().unwrap(), head);
    // A witness that is behind, as after a crash, catches up.
    copy(copies[3].path(), folder.path(), &FILES[2..]);
    assert_eq!(open(&folder).unwrap().head().unwrap(), head);
    copy(copies[3].path(), folder.path(), &FILES[..2]);
    assert!(matches!(open(&folder), Err(LedgerError::RolledBack)));
}

#[test]
fn a_missing_or_new_ledger_or_a_missing_witness_is_refused() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&folder).unwrap();
    answer(&ledger, &charge("a", 1), b"");
    drop(ledger);
    let kept = TempDir::new().unwrap();
    copy(folder.path(), kept.path(), &FILES);

    fs::remove_file(folder.path().join(FILES[2])).unwrap();
    assert!(matches!(open(&folder), Err(LedgerError::WitnessMissing)));

    copy(kept.path(), folder.path(), &FILES);
    fs::remove_file(folder.path().join(FILES[0])).unwrap();
    assert!(matches!(open(&folder), Err(LedgerError::LedgerMissing)));

    let new = TempDir::new().unwrap();
    drop(open(&new).unwrap());
    copy(new.path(), folder.path(), &FILES[..2]);
    assert!(matches!(open(&folder), Err(LedgerError::RolledBack)));
}

#[test]
fn any_changed_row_is_refused() {
    let changes = [
        "UPDATE entry SET loss = zeroblob(96) WHERE number = 1",
        "UPDATE entry SET reply = x'00' WHERE number = 2",
        "UPDATE entry SET project = 'other' WHERE number = 1",
        "UPDATE entry SET epsilon_nano = 0 WHERE number = 1",
        "UPDATE entry SET query_id = 'z' WHERE number = 3",
        "UPDATE entry SET kind = 3 WHERE number = 3",
        "UPDATE entry SET kind = 9 WHERE number = 3",
        "UPDATE entry SET hash = zeroblob(32) WHERE number = 4",
        "UPDATE entry SET number = 9 WHERE number = 4",
        "DELETE FROM entry WHERE number = 1",
        "DELETE FROM entry WHERE number = 4",
        "UPDATE spent SET loss = zeroblob(96)",
        "DELETE FROM spent WHERE project = 'default'",
        "UPDATE beginning SET identity = zeroblob(16)",
    ];
    let folder = TempDir::new().unwrap();
    let ledger = open(&folder).unwrap();
    answer(&ledger, &charge("a", 1), b"one");
    answer(&ledger, &charge("b", 2), b"two");
    drop(ledger);
    let kept = TempDir::new().unwrap();
    copy(folder.path(), kept.path(), &FILES);
    for change in changes {
        let connection = rusqlite::Connection::open(folder.path().join(FILES[0])).unwrap();
        assert!(connection.execute(change, []).unwrap() > 0, "{change}");
        drop(connection);
        let error = open(&folder).unwrap_err();
        let expected = match error {
            LedgerError::Changed { .. } => change.contains("entry") || change.contains("identity"),
            LedgerError::Sums => change.contains("spent"),
            LedgerError::RolledBack => change == "DELETE FROM entry WHERE number = 4",
            _ => false,
        };
        assert!(expected, "{change}: {error:?}");
        copy(kept.path(), folder.path(), &FILES);
        drop(open(&folder).unwrap());
    }
}
