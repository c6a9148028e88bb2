//! Which question is charged, which is answered from the store, which is refused.

use std::{sync::Barrier, thread, time::Duration};

use super::*;
use crate::ledger::Limit;

#[test]
fn a_thousand_at_once_and_budget_for_ten() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&folder).unwrap();
    let start = Barrier::new(1_000);
    let (debited, exhausted) = thread::scope(|scope| {
        let calls: Vec<_> = (0..1_000_u32)
            .map(|number| {
                let (ledger, start) = (&ledger, &start);
                scope.spawn(move || {
                    let mut charge = charge(&format!("q{number}"), 0);
                    charge.answer_key[..4].copy_from_slice(&number.to_be_bytes());
                    start.wait();
                    match ledger.reserve(&charge).unwrap() {
                        Reservation::Debited(reserved) => {
                            ledger.record(reserved, vec![1]).unwrap();
                            (1, 0)
                        }
                        Reservation::Exhausted { limit, .. } => {
                            assert_eq!(limit, Limit::Project);
                            (0, 1)
                        }
                        other => panic!("{other:?}"),
                    }
                })
            })
            .collect();
        calls.into_iter().fold((0, 0), |sum, call| {
            let (debited, exhausted) = call.join().unwrap();
            (sum.0 + debited, sum.1 + exhausted)
        })
    });
    assert_eq!((debited, exhausted), (10, 990));
    assert_eq!(spent(&ledger), 10 * Epsilon::UNIT);
    drop(ledger);
    let ledger = open(&folder).unwrap();
    assert_eq!(spent(&ledger), 10 * Epsilon::UNIT);
}

#[test]
fn the_same_request_at_once_is_debited_once() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&folder).unwrap();
    let start = Barrier::new(50);
    let replies: Vec<Vec<u8>> = thread::scope(|scope| {
        let calls: Vec<_> = (0..50_u8)
            .map(|number| {
                let (ledger, start) = (&ledger, &start);
                scope.spawn(move || {
                    // Half retry one id, half ask the same under ids of their own.
                    let id = if number % 2 == 0 { 0 } else { number };
                    let charge = charge(&format!("q{id}"), 1);
                    start.wait();
                    match ledger
                        .reserve_within(&charge, Duration::from_secs(60))
                        .unwrap()
                    {
                        Reservation::Debited(reserved) => {
                            thread::sleep(Duration::from_millis(50));
                            ledger.record(reserved, vec![number]).unwrap();
                            vec![number]
                        }
                        Reservation::Replay(reply) | Reservation::Reuse(reply) => reply,
                        other => panic!("{other:?}"),
                    }
                })
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(replies.iter().all(|reply| *reply == replies[0]));
    assert_eq!(spent(&ledger), Epsilon::UNIT);
}

#[test]
fn a_retry_gets_the_same_bytes_for_ever() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&folder).unwrap();
    answer(&ledger, &charge("a", 1), b"noisy");
    assert_eq!(replayed(&ledger, &charge("a", 1)), b"noisy");
    // Even if a fresh draw is asked for under the old id.
    let fresh = Charge {
        fresh: true,
        ..charge("a", 1)
    };
    assert_eq!(replayed(&ledger, &fresh), b"noisy");
    drop(ledger);
    let ledger = open(&folder).unwrap();
    assert_eq!(replayed(&ledger, &charge("a", 1)), b"noisy");
    assert_eq!(spent(&ledger), Epsilon::UNIT);
}

#[test]
fn the_same_question_is_answered_from_the_store() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&folder).unwrap();
    answer(&ledger, &charge("a", 1), b"first");

    let again = charge("b", 1);
    assert!(
        matches!(ledger.reserve(&again).unwrap(), Reservation::Reuse(reply) if reply == b"first")
    );
    let fresh = Charge {
        fresh: true,
        ..charge("c", 1)
    };
    answer(&ledger, &fresh, b"second");
    assert_eq!(spent(&ledger), 2 * Epsilon::UNIT);

    // The newest answer is reused; an id keeps the one that it was given.
    let newest = charge("d", 1);
    assert!(
        matches!(ledger.reserve(&newest).unwrap(), Reservation::Reuse(reply) if reply == b"second")
    );
    assert_eq!(replayed(&ledger, &again), b"first");
    drop(ledger);
    let ledger = open(&folder).unwrap();
    assert_eq!(replayed(&ledger, &again), b"first");
    assert_eq!(replayed(&ledger, &newest), b"second");

    // Another project pays for an answer of its own.
    let other = Charge {
        project: "other".parse().unwrap(),
        ..charge("e", 1)
    };
    answer(&ledger, &other, b"third");
    let budget = ledger.budget(&other.project).unwrap();
    assert_eq!(budget.project.epsilon_spent_nano, Epsilon::UNIT);
    assert_eq!(budget.total.epsilon_spent_nano, 3 * Epsilon::UNIT);
}

#[test]
fn an_id_belongs_to_one_request() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&folder).unwrap();
    answer(&ledger, &charge("a", 1), b"one");
    let _reuse = ledger.reserve(&charge("b", 1)).unwrap();
    let elsewhere = Charge {
        project: "other".parse().unwrap(),
        ..charge("a", 1)
    };
    for other in [charge("a", 2), charge("b", 2), elsewhere] {
        assert!(matches!(
            ledger.reserve(&other).unwrap(),
            Reservation::Conflict
        ));
    }
    assert_eq!(spent(&ledger), Epsilon::UNIT);
}

#[test]
fn an_answer_that_was_lost_is_lost_for_ever_and_stays_charged() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&folder).unwrap();
    let reserved = debit(&ledger, &charge("a", 1));
    assert!(matches!(
        ledger.reserve(&charge("a", 1)).unwrap(),
        Reservation::InProgress
    ));
    assert!(matches!(
        ledger.reserve(&charge("b", 1)).unwrap(),
        Reservation::InProgress
    ));
    drop(reserved);
    assert!(matches!(
        ledger.reserve(&charge("a", 1)).unwrap(),
        Reservation::Lost
    ));
    drop(ledger);
    let ledger = open(&folder).unwrap();
    assert!(matches!(
        ledger.reserve(&charge("a", 1)).unwrap(),
        Reservation::Lost
    ));
    assert_eq!(spent(&ledger), Epsilon::UNIT);
    // Under a new id the question is charged again.
    answer(&ledger, &charge("b", 1), b"new");
    assert_eq!(spent(&ledger), 2 * Epsilon::UNIT);
}

#[test]
fn waiting_ends_with_patience() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&folder).unwrap();
    let _reserved = debit(&ledger, &charge("a", 1));
    let waited = ledger
        .reserve_within(&charge("a", 1), Duration::from_millis(30))
        .unwrap();
    assert!(matches!(waited, Reservation::InProgress));
}

#[test]
fn the_total_binds_all_projects() {
    let folder = TempDir::new().unwrap();
    let ledger = open_with(folder.path(), 10.0, 3.0).unwrap();
    for project in ["a", "b", "c", "d"] {
        let charge = Charge {
            project: project.parse().unwrap(),
            ..charge(project, 1)
        };
        match ledger.reserve(&charge).unwrap() {
            Reservation::Debited(reserved) => {
                assert_ne!(project, "d");
                ledger.record(reserved, Vec::new()).unwrap();
            }
            Reservation::Exhausted { limit, budget } => {
                assert_eq!((project, limit), ("d", Limit::Total));
                assert_eq!(budget.total.epsilon_left_nano, 0);
                assert_eq!(budget.project.epsilon_left_nano, 10 * Epsilon::UNIT);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn another_configuration_refills_nothing() {
    let folder = TempDir::new().unwrap();
    let ledger = open_with(folder.path(), 2.0, 2.0).unwrap();
    answer(&ledger, &charge("a", 1), b"");
    answer(&ledger, &charge("b", 2), b"");
    drop(ledger);
    for (limit, left) in [(1.0, 0), (2.0, 0), (3.0, Epsilon::UNIT)] {
        let ledger = open_with(folder.path(), limit, limit).unwrap();
        let budget = ledger.budget(&"default".parse().unwrap()).unwrap();
        assert_eq!(budget.project.epsilon_spent_nano, 2 * Epsilon::UNIT);
        assert_eq!(budget.total.epsilon_left_nano, left);
    }
}
