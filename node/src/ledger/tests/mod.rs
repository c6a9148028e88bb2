//! Races, crashes, full disks, restored copies and changed rows.

mod failures;
mod questions;
mod tampering;

use std::{fs, path::Path};

use skerry_privacy::accounting::{Allowance, Budget, Loss};
use skerry_proto::{Delta, Epsilon, RegionId};
use tempfile::TempDir;

use super::{Charge, Ledger, LedgerError, Reservation, Reserved};

const FILES: [&str; 3] = ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite.head"];

fn allowance(epsilon: f64) -> Allowance {
    Allowance {
        epsilon: Epsilon::try_from(epsilon).unwrap(),
        delta: Delta::try_from(1e-9).unwrap(),
    }
}

fn region() -> RegionId {
    "norrbotten".parse().unwrap()
}

fn open_with(folder: &Path, project: f64, total: f64) -> Result<Ledger, LedgerError> {
    let budget = Budget {
        project: allowance(project),
        total: allowance(total),
    };
    Ledger::open(&folder.join(FILES[0]), &region(), budget)
}

fn open(folder: &TempDir) -> Result<Ledger, LedgerError> {
    open_with(folder.path(), 10.0, 30.0)
}

/// One of ε = 1, of project `default`, whose request and canonical question are told apart by `question`.
fn charge(id: &str, question: u8) -> Charge {
    Charge {
        query_id: id.parse().unwrap(),
        project: "default".parse().unwrap(),
        question_hash: [question; 32],
        answer_key: [question; 32],
        loss: Loss::of_pure(Epsilon::UNIT),
        epsilon_nano: Epsilon::UNIT,
        delta_atto: 0,
        fresh: false,
    }
}

fn debit(ledger: &Ledger, charge: &Charge) -> Reserved {
    match ledger.reserve(charge).unwrap() {
        Reservation::Debited(reserved) => reserved,
        other => panic!("not debited: {other:?}"),
    }
}

fn answer(ledger: &Ledger, charge: &Charge, reply: &[u8]) {
    let reserved = debit(ledger, charge);
    ledger.record(reserved, reply.to_vec()).unwrap();
}

fn spent(ledger: &Ledger) -> u64 {
    let budget = ledger.budget(&"default".parse().unwrap()).unwrap();
    budget.project.epsilon_spent_nano
}

fn replayed(ledger: &Ledger, charge: &Charge) -> Vec<u8> {
    match ledger.reserve(charge).unwrap() {
        Reservation::Replay(reply) => reply,
        other => panic!("not replayed: {other:?}"),
    }
}

/// Copies what is there of the named files; removes what is not.
fn copy(from: &Path, to: &Path, files: &[&str]) {
    for file in files {
        if from.join(file).exists() {
            fs::copy(from.join(file), to.join(file)).unwrap();
        } else {
            let _absent = fs::remove_file(to.join(file));
        }
    }
}
