//! Each side is a process of its own, so that its peak of memory and its allocator's leavings are
//! its own. The process is told line by line on its input what to do, and says line by line on its
//! output what it took.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Instant,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use skerry::federation::{self, Federation};
use skerry_coordinator::{
    client::{Client, Credentials},
    question::Question,
};
use skerry_node::{
    config::NodeConfig,
    ingest::{IngestOptions, ingest},
};
use skerry_proto::Epsilon;

use crate::{
    Failure,
    measure::{self, Meter, Run},
    plain::Plain,
    questions::QUESTIONS,
    results::Side,
    setting::{Setting, node_file},
};

/// What a process is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    /// Of the process.
    pub threads: usize,
    /// What it does.
    pub duty: Duty,
}

/// What a process does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Duty {
    /// Answers questions.
    Answer {
        /// As whom.
        side: Side,
        /// From which data.
        setting: Setting,
        /// Where the federation's files go, with the ledgers.
        home: PathBuf,
        /// Lines for each node's configuration.
        lines: Vec<String>,
        /// Researchers' connections, which are kept.
        connections: usize,
        /// Of each question.
        epsilon: f64,
    },
    /// Prepares the tables of each of these nodes, once, and ends.
    Prepare {
        /// A folder with their configurations.
        federation: PathBuf,
        /// The nodes.
        regions: Vec<String>,
        /// Where the tables go.
        into: PathBuf,
        /// Memory for rows.
        memory_mib: u64,
    },
}

/// What a process that answers is asked to do next.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ask {
    /// The question's place in the list.
    pub question: usize,
    /// Connections that ask it.
    pub at_once: usize,
    /// How often each of them.
    pub in_a_row: usize,
}

/// What a process says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Said {
    /// It can be asked; with its memory.
    Ready(Option<u64>),
    /// What was asked was done.
    Done(Run),
    /// Skerry doesn't answer the question.
    Refused(String),
    /// Something is wrong.
    Failed(String),
}

/// The other end of a process.
pub struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// Memory before the first question.
    pub idle_bytes: Option<u64>,
}

impl Worker {
    /// Starts a process, and waits until it is ready.
    pub fn start(start: &Start) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or("a process without output")?;
        let mut worker = Self {
            child,
            input,
            output: BufReader::new(output),
            idle_bytes: None,
        };
        worker.tell(start)?;
        match worker.said()? {
            Said::Ready(bytes) => worker.idle_bytes = bytes,
            Said::Failed(why) | Said::Refused(why) => return Err(why.into()),
            Said::Done(_) => return Err("a process that has not begun is done".into()),
        }
        Ok(worker)
    }

    /// Has it do something; a refusal is nothing that is wrong.
    pub fn ask(&mut self, ask: &Ask) -> Result<Result<Run, String>, Failure> {
        self.tell(ask)?;
        self.done()
    }

    /// Waits until something is done.
    pub fn done(&mut self) -> Result<Result<Run, String>, Failure> {
        match self.said()? {
            Said::Done(run) => Ok(Ok(run)),
            Said::Refused(why) => Ok(Err(why)),
            Said::Failed(why) => Err(why.into()),
            Said::Ready(_) => Err("a process has begun twice".into()),
        }
    }

    fn tell(&mut self, what: &impl Serialize) -> Result<(), Failure> {
        let input = self.input.as_mut().ok_or("a process without input")?;
        writeln!(input, "{}", serde_json::to_string(what)?)?;
        Ok(input.flush()?)
    }

    fn said(&mut self) -> Result<Said, Failure> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("a side's process has ended".into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Without input it ends by itself, and stops its federation in order.
        self.input = None;
        let _ = self.child.wait();
    }
}

/// What the process itself does.
pub fn work() -> Result<(), Failure> {
    let start: Start = heard()?.ok_or("nothing was said")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(start.threads)
        // As the command has it.
        .thread_stack_size(skerry::command::STACK_BYTES)
        .enable_all()
        .build()?;
    if let Err(failure) = runtime.block_on(serve(start)) {
        say(&Said::Failed(failure.to_string()))?;
    }
    Ok(())
}

async fn serve(start: Start) -> Result<(), Failure> {
    match start.duty {
        Duty::Answer {
            side: Side::Plain,
            setting,
            ..
        } => {
            let plain = Plain::open(&setting, start.threads).await?;
            answer(|ask| {
                let (plain, sql) = (plain.clone(), plain.sql(&QUESTIONS[ask.question]));
                async move {
                    let run = measure::run(ask.at_once, ask.in_a_row, move |_| {
                        let (plain, sql) = (plain.clone(), sql.clone());
                        async move { plain.rows(&sql).await }
                    });
                    Ok(Said::Done(run.await?))
                }
            })
            .await
        }
        Duty::Answer {
            side,
            setting,
            home,
            lines,
            connections,
            epsilon,
        } => {
            let folder = tempfile::tempdir_in(&home)?;
            let federation = folder.path().join("federation");
            setting.write_federation(&federation, |region| {
                let mut text = String::new();
                if side == Side::Prepared {
                    let prepared = setting.prepared(region).display().to_string();
                    text = format!("prepared = {prepared:?}\n");
                }
                text + &lines
                    .iter()
                    .map(|line| format!("{line}\n"))
                    .collect::<String>()
            })?;
            let asked = Skerry::start(&federation, connections).await?;
            answer(|ask| asked.run(ask, epsilon)).await?;
            asked.federation.stop().await;
            Ok(())
        }
        Duty::Prepare {
            federation,
            regions,
            into,
            memory_mib,
        } => {
            say(&Said::Ready(measure::resident()))?;
            let (meter, began, mut rows) = (Meter::start(), Instant::now(), 0);
            for region in regions {
                let config = NodeConfig::load(&node_file(&federation, &region))?;
                let options = IngestOptions {
                    folder: into.join(region),
                    memory_mib,
                    partitions: None,
                    threads: Some(start.threads),
                };
                let report = ingest(&config, &options, &|_| ()).await?;
                let found = report.tables.values().map(|table| table.found.rows);
                rows += found.sum::<u64>() as usize;
            }
            say(&Said::Done(meter.stop(vec![measure::since(began)], rows)))
        }
    }
}

/// Does what is asked until nothing more is.
async fn answer<F>(run: impl Fn(Ask) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<Said, Failure>>,
{
    say(&Said::Ready(measure::resident()))?;
    while let Some(ask) = heard()? {
        say(&run(ask).await?)?;
    }
    Ok(())
}

/// A federation and its researchers.
struct Skerry {
    federation: Federation,
    clients: Arc<Vec<Client>>,
}

impl Skerry {
    async fn start(folder: &std::path::Path, connections: usize) -> Result<Self, Failure> {
        let federation = federation::start(folder).await?;
        let credentials = Credentials::load(&folder.join("researcher"))?;
        let mut clients = vec![];
        for _ in 0..connections {
            clients.push(Client::connect(&federation.url(), &credentials).await?);
        }
        Ok(Self {
            federation,
            clients: Arc::new(clients),
        })
    }

    /// Each time a new answer, which is paid for.
    fn run(&self, ask: Ask, epsilon: f64) -> impl Future<Output = Result<Said, Failure>> + use<> {
        let clients = Arc::clone(&self.clients);
        async move {
            let mut question = Question::new(QUESTIONS[ask.question].skerry);
            question.epsilon = Some(Epsilon::try_from(epsilon)?);
            question.fresh = true;
            let run = measure::run(ask.at_once, ask.in_a_row, move |index| {
                let (clients, question) = (Arc::clone(&clients), question.clone());
                async move { Ok(clients[index].query(&question).await?.rows.num_rows()) }
            });
            match run.await {
                Ok(run) => Ok(Said::Done(run)),
                Err(failure) => Ok(Said::Refused(failure.to_string())),
            }
        }
    }
}

fn heard<T: DeserializeOwned>() -> Result<Option<T>, Failure> {
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}

fn say(said: &Said) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", serde_json::to_string(said)?)?;
    Ok(output.flush()?)
}
