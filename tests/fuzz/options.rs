//! What the command line says.

use std::time::Duration;

/// Run by default, in `cargo test`.
const SECONDS: u64 = 5;

/// What is fuzzed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Bytes.
    Gate,
    /// Plans.
    Lowering,
}

impl Target {
    const ALL: [Self; 2] = [Self::Gate, Self::Lowering];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Lowering => "lowering",
        }
    }
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Run,
    List,
    WriteCorpus,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub work: Work,
    pub targets: Vec<Target>,
    /// Of each target.
    pub time: Duration,
    pub seed: u64,
    /// This input alone.
    pub input: Option<u64>,
    /// How many findings end a run.
    pub findings: u64,
}

impl Options {
    /// Nothing where another test is meant: `cargo test NAME` says the name to all of them.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            work: Work::Run,
            targets: Target::ALL.to_vec(),
            time: Duration::from_secs(SECONDS),
            seed: 1,
            input: None,
            findings: 1,
        };
        let mut names = vec![];
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{argument} needs a value"))
            };
            let number = |text: String| {
                text.parse::<u64>()
                    .map_err(|_| format!("`{text}` is no number"))
            };
            match argument.as_str() {
                "--target" => {
                    let name = value()?;
                    let found = Target::ALL.into_iter().find(|target| target.name() == name);
                    options.targets =
                        vec![found.ok_or_else(|| format!("there is no target `{name}`"))?];
                }
                "--seconds" => options.time = Duration::from_secs(number(value()?)?),
                "--seed" => options.seed = number(value()?)?,
                "--input" => options.input = Some(number(value()?)?),
                "--findings" => options.findings = number(value()?)?,
                "--write-corpus" => options.work = Work::WriteCorpus,
                "--list" => options.work = Work::List,
                // What the usual harness takes besides.
                "--ignored" => return Ok(None),
                "--skip" | "--test-threads" | "--format" | "--color" | "-Z" => {
                    value()?;
                }
                flag if flag.starts_with('-') => {}
                _ => names.push(argument),
            }
        }
        if !names.is_empty() {
            options.targets.retain(|target| {
                names
                    .iter()
                    .any(|name| target.name().contains(name.as_str()))
            });
        }
        Ok((!options.targets.is_empty()).then_some(options))
    }
}
