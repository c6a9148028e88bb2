//! Fuzz targets for what a node does with bytes from outside, before it has charged anything:
//! `gate` with bytes, `lowering` with plans. See `tests/fuzz/README.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod bytes;
mod corpus;
mod fields;
#[path = "../federation/name_codec.rs"]
mod name_codec;
mod options;
mod plans;
mod subject;
mod watch;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::Instant,
};

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use self::{
    corpus::Corpus,
    options::{Options, Target, Work},
    subject::{Reached, Subject},
    watch::Watch,
};

/// Stack of the thread that asks, as the node's own has.
const STACK_BYTES: usize = 64 << 20;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => return ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    watch::listen_to_panics();
    let work = move || match options.work {
        Work::List => {
            for target in &options.targets {
                println!("{}: test", target.name());
            }
            true
        }
        Work::WriteCorpus => {
            corpus::write(&Subject::new());
            true
        }
        // All are run, so that one finding doesn't hide another.
        Work::Run => {
            let targets = options.targets.iter();
            let passed: Vec<bool> = targets.map(|target| run(*target, &options)).collect();
            passed.into_iter().all(|passed| passed)
        }
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    match thread.spawn(work).map(std::thread::JoinHandle::join) {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// The input of this number. It depends on the seed, the number and the corpus alone.
fn input(target: Target, corpus: &Corpus, seed: u64, number: u64) -> (Vec<u8>, ChaCha8Rng) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    // The corpus itself comes first.
    let made = match corpus.plans.get(number as usize) {
        Some(plan) => plan.bytes.clone(),
        None => match target {
            Target::Gate => bytes::mutated(corpus, &mut rng),
            Target::Lowering => plans::mutated(corpus, &mut rng),
        },
    };
    (made, rng)
}

/// Whether nothing was found.
fn run(target: Target, options: &Options) -> bool {
    let corpus = Corpus::read();
    let mut subject = Subject::new();
    let mut watch = Watch::new(target, options.seed);
    let mut reached = [0u64; Reached::ALL.len()];
    let mut findings = 0;
    let begun = Instant::now();
    let numbers = match options.input {
        Some(number) => number..number + 1,
        None => 0..u64::MAX,
    };
    for number in numbers {
        let elapsed = begun.elapsed();
        // The corpus is always seen as a whole.
        if elapsed >= options.time && number >= corpus.plans.len() as u64 {
            break;
        }
        let (bytes, mut rng) = input(target, &corpus, options.seed, number);
        watch.begin(number, &bytes);
        let outcome = catch_unwind(AssertUnwindSafe(|| subject.ask(target, &bytes, &mut rng)));
        let panic = watch::last_panic();
        let finding = match (outcome, panic) {
            (Err(_), panic) => Some(format!("a panic at {}", panic.unwrap_or_default().0)),
            (Ok(Err(failed)), Some((place, _))) => {
                Some(format!("{failed}, after a panic at {place}"))
            }
            (Ok(Err(failed)), None) => Some(failed),
            (Ok(Ok(_)), Some((place, true))) => Some(format!("a panic, caught, at {place}")),
            (Ok(Ok(stage)), _) => {
                reached[stage as usize] += 1;
                watch.end()
            }
        };
        if let Some(finding) = finding {
            findings += 1;
            watch.report(&finding);
            if findings >= options.findings {
                break;
            }
        }
        if let Some(growth) = watch.growth(elapsed, options.time) {
            findings += 1;
            watch.report(&growth);
            break;
        }
    }
    let of_stages: Vec<String> = Reached::ALL
        .iter()
        .map(|stage| format!("{} {}", reached[*stage as usize], stage.name()))
        .collect();
    println!(
        "fuzz {}: {} inputs in {:.0} s with seed {}: {}; {}; {findings} findings",
        target.name(),
        reached.iter().sum::<u64>() + findings,
        begun.elapsed().as_secs_f64(),
        options.seed,
        of_stages.join(", "),
        watch.summary(),
    );
    findings == 0
}
