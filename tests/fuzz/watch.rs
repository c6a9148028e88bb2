//! What is watched: panics, time, memory.

use std::{
    cell::{Cell, RefCell},
    fs,
    io::{Seek as _, Write as _},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::options::Target;

/// Processor time that one input may take before anything runs over data, in a debug build.
const LONGEST: Duration = Duration::from_secs(2);
/// Time after which an input is a hang, however busy the machine is.
const HANG: Duration = Duration::from_secs(120);
/// By so much the process may grow after the first third of a run.
const MOST_GROWTH: u64 = 256 << 20;

thread_local! {
    /// Whether an input is in hand. Other panics are the test's own.
    static ASKING: Cell<bool> = const { Cell::new(false) };
    /// Where the last panic was, and whether in our own code.
    static PANIC: RefCell<Option<(String, bool)>> = const { RefCell::new(None) };
}

/// Notes panics. The decoder's own are caught by the node, and are no findings.
pub fn listen_to_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let Some(place) = panic.location() else {
            return;
        };
        if !ASKING.get() {
            eprintln!("{panic}");
        }
        // Crates from elsewhere are compiled by absolute paths.
        let ours = !place.file().starts_with('/');
        let told = format!("{place}: {}", panic.payload_as_str().unwrap_or(""));
        PANIC.with(|last| {
            let mut last = last.borrow_mut();
            if ours || last.as_ref().is_none_or(|(_, ours)| !ours) {
                *last = Some((told, ours));
            }
        });
    }));
}

/// The last panic in an input, which may have been caught, and whether it was in our own code.
pub fn last_panic() -> Option<(String, bool)> {
    PANIC.with(|last| last.borrow_mut().take())
}

/// The input in hand.
struct Running {
    number: u64,
    bytes: Vec<u8>,
    since: Option<Instant>,
}

pub struct Watch {
    target: Target,
    seed: u64,
    running: Arc<Mutex<Running>>,
    /// Says which input it was even if the process is killed.
    note: fs::File,
    processor: Duration,
    slowest: (Duration, u64),
    /// Memory after the first third.
    settled: Option<u64>,
    most: u64,
}

impl Watch {
    pub fn new(target: Target, seed: u64) -> Self {
        let running = Arc::new(Mutex::new(Running {
            number: 0,
            bytes: vec![],
            since: None,
        }));
        let watched = Arc::downgrade(&running);
        std::thread::spawn(move || {
            while let Some(running) = watched.upgrade() {
                {
                    let running = running.lock().unwrap_or_else(PoisonError::into_inner);
                    if running.since.is_some_and(|since| since.elapsed() > HANG) {
                        tell(target, seed, running.number, &running.bytes, "a hang");
                        std::process::exit(101);
                    }
                }
                drop(running);
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        let note = folder().join(format!("{}.running", target.name()));
        Self {
            target,
            seed,
            running,
            note: fs::File::create(note).unwrap(),
            processor: Duration::ZERO,
            slowest: (Duration::ZERO, 0),
            settled: None,
            most: 0,
        }
    }

    pub fn begin(&mut self, number: u64, bytes: &[u8]) {
        let note = format!("--seed {} --input {number:<20}\n", self.seed);
        self.note.rewind().unwrap();
        self.note.write_all(note.as_bytes()).unwrap();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.number = number;
        running.bytes.clear();
        running.bytes.extend_from_slice(bytes);
        running.since = Some(Instant::now());
        ASKING.set(true);
        self.processor = processor();
    }

    /// What was wrong with the time that it took.
    pub fn end(&mut self) -> Option<String> {
        ASKING.set(false);
        let took = processor().saturating_sub(self.processor);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.since = None;
        self.slowest = self.slowest.max((took, running.number));
        (took > LONGEST).then(|| format!("{:.1} s", took.as_secs_f64()))
    }

    /// What was wrong with the memory, looked at now and then.
    pub fn growth(&mut self, elapsed: Duration, time: Duration) -> Option<String> {
        let number = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .number;
        if !number.is_multiple_of(64) {
            return None;
        }
        let memory = memory();
        self.most = self.most.max(memory);
        if elapsed < time / 3 {
            return None;
        }
        let settled = *self.settled.get_or_insert(self.most);
        (memory > settled + MOST_GROWTH)
            .then(|| format!("memory grew from {} to {} MiB", settled >> 20, memory >> 20))
    }

    pub fn report(&self, finding: &str) {
        ASKING.set(false);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.since = None;
        tell(
            self.target,
            self.seed,
            running.number,
            &running.bytes,
            finding,
        );
    }

    pub fn summary(&self) -> String {
        format!(
            "slowest {:.2} s (input {}), memory {} MiB after the first third, {} MiB at most, {} MiB at the end",
            self.slowest.0.as_secs_f64(),
            self.slowest.1,
            self.settled.unwrap_or(0) >> 20,
            self.most >> 20,
            memory() >> 20,
        )
    }
}

fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn tell(target: Target, seed: u64, number: u64, bytes: &[u8], finding: &str) {
    let target = target.name();
    let saved = folder().join(format!("{target}-{seed}-{number}.plan"));
    fs::write(&saved, bytes).unwrap();
    eprintln!(
        "fuzz {target}: {finding}\n  again: cargo test --workspace --test fuzz -- --target {target} --seed {seed} --input {number}\n  input: {}",
        saved.display()
    );
}

/// Processor time of this thread; zero where the system doesn't say.
fn processor() -> Duration {
    fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .map_or(Duration::ZERO, Duration::from_nanos)
}

/// Resident memory in bytes; zero where the system doesn't say.
fn memory() -> u64 {
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .map_or(0, |kibibytes| kibibytes << 10)
}
