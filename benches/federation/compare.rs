//! The questions, asked of all sides in turns.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::{
    Failure, cores,
    questions::{QUESTIONS, Wording},
    results::{Asked, Side},
    setting::Setting,
    worker::{Ask, Duty, Start, Worker},
};

/// What is asked, of whom.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// People in all regions together, one or more numbers; about 10 episodes each
    #[arg(long, value_delimiter = ',', default_value = "100000")]
    people: Vec<u64>,
    /// Regions, each with a node of its own; one or more numbers
    #[arg(long, value_delimiter = ',', default_value = "5")]
    regions: Vec<usize>,
    /// Questions at once, each by a connection of its own; one or more numbers
    #[arg(long, value_delimiter = ',', default_value = "1")]
    at_once: Vec<usize>,
    /// How often each connection asks in a row, within one run
    #[arg(long, default_value_t = 1)]
    in_a_row: usize,
    /// Runs of each question on each side, after one that doesn't count; the median counts
    #[arg(long, default_value_t = 7)]
    runs: usize,
    /// Count the first run, too: for what takes long
    #[arg(long)]
    cold: bool,
    /// Questions to ask, by the start of their names [default: all]
    #[arg(long, value_delimiter = ',')]
    questions: Vec<String>,
    /// Whose times: plain DataFusion, Skerry over prepared tables, Skerry's generic plan over the files as they were generated
    #[arg(long, value_delimiter = ',', default_value = "plain,prepared")]
    sides: Vec<Side>,
    /// Threads of each side [default: the machine's]
    #[arg(long)]
    threads: Option<usize>,
    /// The privacy loss of each run; small, so that a budget lasts for all of them
    #[arg(long, default_value_t = 0.0001)]
    epsilon: f64,
    /// Partitions of the prepared tables [default: by their size]
    #[arg(long)]
    partitions: Option<usize>,
    /// A top-level line for each node's configuration, as in `hot_mib = 512`
    #[arg(long)]
    node: Vec<String>,
    /// Where the federations' files are, and so the ledgers [default: a folder that is removed]
    #[arg(long)]
    home: Option<PathBuf>,
}

/// A side in a setting.
struct Seat {
    setting: Setting,
    side: Side,
    worker: Worker,
}

impl Options {
    /// Asks all of it.
    pub fn measure(&self, data: &Path) -> Result<Vec<Asked>, Failure> {
        let mut asked = vec![];
        for people in &self.people {
            let mut settings = vec![];
            for regions in &self.regions {
                settings.push(self.setting(data, *people, *regions)?);
            }
            asked.extend(self.measure_settings(&settings)?);
        }
        Ok(asked)
    }

    fn threads(&self) -> usize {
        self.threads.unwrap_or_else(cores)
    }

    /// Generated, and prepared where a side needs that.
    fn setting(&self, data: &Path, people: u64, regions: usize) -> Result<Setting, Failure> {
        let setting = Setting::generated(data, people, regions)?;
        if self.sides.iter().any(|side| *side != Side::Generic) {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(self.threads())
                .enable_all()
                .build()?
                .block_on(setting.prepare(self.threads(), self.partitions))?;
        }
        Ok(setting)
    }

    /// All settings with as many people, in turns, so that what else the machine does falls on all
    /// of them alike.
    fn measure_settings(&self, settings: &[Setting]) -> Result<Vec<Asked>, Failure> {
        let home = tempfile::tempdir()?;
        let mut seats = vec![];
        for setting in settings {
            for side in &self.sides {
                let start = Start {
                    threads: self.threads(),
                    duty: Duty::Answer {
                        side: *side,
                        setting: setting.clone(),
                        home: self.home.clone().unwrap_or_else(|| home.path().to_owned()),
                        lines: self.node.clone(),
                        connections: self.at_once.iter().copied().max().unwrap_or(1),
                        epsilon: self.epsilon,
                    },
                };
                seats.push(Seat {
                    setting: setting.clone(),
                    side: *side,
                    worker: Worker::start(&start)?,
                });
            }
        }
        let mut asked = vec![];
        for (place, wording) in QUESTIONS.iter().enumerate() {
            if !self.wants(wording) {
                continue;
            }
            for at_once in &self.at_once {
                let ask = Ask {
                    question: place,
                    at_once: *at_once,
                    in_a_row: self.in_a_row,
                };
                asked.extend(self.measure_question(wording, &ask, &mut seats)?);
            }
        }
        Ok(asked)
    }

    fn wants(&self, wording: &Wording) -> bool {
        let mut wanted = self.questions.iter();
        self.questions.is_empty() || wanted.any(|start| wording.name.starts_with(start.as_str()))
    }

    fn measure_question(
        &self,
        wording: &Wording,
        ask: &Ask,
        seats: &mut [Seat],
    ) -> Result<Vec<Asked>, Failure> {
        let mut all: Vec<Asked> = seats
            .iter()
            .map(|seat| Asked {
                people: seat.setting.people,
                episodes: seat.setting.episodes,
                regions: seat.setting.regions.len(),
                threads: self.threads(),
                question: wording.name.to_owned(),
                at_once: ask.at_once,
                in_a_row: ask.in_a_row,
                side: seat.side,
                idle_bytes: seat.worker.idle_bytes,
                refused: None,
                runs: vec![],
            })
            .collect();
        for turn in usize::from(self.cold)..=self.runs {
            for (seat, asked) in seats.iter_mut().zip(&mut all) {
                if asked.refused.is_some() {
                    continue;
                }
                match seat.worker.ask(ask)? {
                    Ok(run) if turn > 0 => asked.runs.push(run),
                    Ok(_) => {}
                    Err(refusal) => {
                        println!("{}, {}: {refusal}", wording.name, seat.side.name());
                        asked.refused = Some(refusal);
                    }
                }
            }
        }
        Ok(all)
    }
}
