//! Full disks, and kills at any instant.

use std::{
    fs::OpenOptions,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use skerry_privacy::accounting::PICO;

use super::*;
use crate::ledger::witness::Witness;

/// Nothing may leave a ledger that could not write, and a restart finds every debit.
fn assert_stopped(ledger: &Ledger) {
    let project = "default".parse().unwrap();
    assert!(matches!(
        ledger.reserve(&charge("a", 1)),
        Err(LedgerError::Stopped)
    ));
    assert!(matches!(
        ledger.reserve(&charge("new", 9)),
        Err(LedgerError::Stopped)
    ));
    assert!(matches!(ledger.budget(&project), Err(LedgerError::Stopped)));
    assert!(matches!(ledger.head(), Err(LedgerError::Stopped)));
}

#[test]
fn a_full_disk_stops_all_releases() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&folder).unwrap();
    answer(&ledger, &charge("a", 1), b"kept");
    let reserved = debit(&ledger, &charge("b", 2));
    {
        let state = ledger.shared.lock();
        let connection = state.store.connection();
        let pages: i64 = connection
            .pragma_query_value(None, "page_count", |row| row.get(0))
            .unwrap();
        // SQLite then fails as it does when the disk is full.
        connection
            .pragma_update(None, "max_page_count", pages)
            .unwrap();
    }
    assert!(matches!(
        ledger.record(reserved, vec![7; 1 << 20]),
        Err(LedgerError::Storage(_))
    ));
    assert_stopped(&ledger);
    drop(ledger);
    let ledger = open(&folder).unwrap();
    assert_eq!(replayed(&ledger, &charge("a", 1)), b"kept");
    assert!(matches!(
        ledger.reserve(&charge("b", 2)).unwrap(),
        Reservation::Lost
    ));
    assert_eq!(spent(&ledger), 2 * Epsilon::UNIT);
}

#[test]
fn a_witness_that_cannot_write_stops_all_releases() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&folder).unwrap();
    answer(&ledger, &charge("a", 1), b"kept");
    let full = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/full")
        .unwrap();
    ledger.shared.lock().witness = Witness::on(full);
    // Data may be read for it, but its answer is not taken.
    let reserved = debit(&ledger, &charge("b", 2));
    assert!(matches!(
        ledger.record(reserved, b"lost".to_vec()),
        Err(LedgerError::Stopped)
    ));
    assert_stopped(&ledger);
    drop(ledger);
    // The debit was written before the witness failed: charged, and no answer.
    let ledger = open(&folder).unwrap();
    assert!(matches!(
        ledger.reserve(&charge("b", 2)).unwrap(),
        Reservation::Lost
    ));
    assert_eq!(spent(&ledger), 2 * Epsilon::UNIT);
}

const CHILD: &str = "SKERRY_TEST_LEDGER_CHILD";

/// Answers as fast as it can until killed. Says on standard output what is debited and recorded,
/// each after it is on disk. Does nothing unless the test below starts it.
#[test]
fn child_that_is_killed() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let ledger = open_with(Path::new(&folder), 1_000.0, 1_000.0).unwrap();
    let begin = ledger.shared.lock().seen.entries;
    for number in begin.. {
        let mut charge = charge(&format!("q{number}"), 0);
        charge.answer_key[..8].copy_from_slice(&number.to_be_bytes());
        let reserved = debit(&ledger, &charge);
        println!("\ndebited {number}");
        ledger
            .record(reserved, number.to_be_bytes().repeat(300))
            .unwrap();
        println!("\nrecorded {number}");
    }
}

#[test]
fn killed_at_any_instant_it_keeps_every_debit_and_every_answer() {
    let folder = TempDir::new().unwrap();
    let (_, module) = module_path!().split_once("::").unwrap();
    let (mut debited, mut recorded) = (Vec::new(), Vec::new());
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                &format!("{module}::child_that_is_killed"),
                "--nocapture",
            ])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut parse = |line: String| {
            if let Some(number) = line.strip_prefix("debited ") {
                debited.push(number.parse::<u64>().unwrap());
            } else if let Some(number) = line.strip_prefix("recorded ") {
                recorded.push(number.parse::<u64>().unwrap());
            }
        };
        let told = 40 + 7 * round;
        for line in lines.by_ref().take(told) {
            parse(line.unwrap());
        }
        thread::sleep(Duration::from_micros(900 * round as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        lines.map_while(Result::ok).for_each(parse);

        let ledger = open_with(folder.path(), 1_000.0, 1_000.0).unwrap();
        assert!(!recorded.is_empty());
        // Pure ε, which adds; what is shown as spent may be less for so many.
        let pure = ledger.shared.lock().spent.total.pure().unwrap();
        let found = pure / PICO;
        let told = debited.len() as u64;
        // Each kill may have hit between a debit and telling of it.
        assert!(
            told <= found && found <= told + round as u64 + 1,
            "{told} {found}"
        );
        for number in &recorded {
            let mut charge = charge(&format!("q{number}"), 0);
            charge.answer_key[..8].copy_from_slice(&number.to_be_bytes());
            assert_eq!(replayed(&ledger, &charge), number.to_be_bytes().repeat(300));
        }
    }
}
