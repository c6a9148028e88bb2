//! The node that is asked: a real one, over a small synthetic region, in this process.

use rand::Rng;
use skerry::{
    init::{InitOptions, init},
    synth::{SynthOptions, generate},
};
use skerry_node::{
    Node,
    config::{AllowanceConfig, BudgetConfig, NodeConfig},
    pipeline::{Admitted, Decision},
    plan::gate,
};
use skerry_proto::{CONTRACT_VERSION, Delta, Epsilon, ErrorCode, wire};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::options::Target;

const PEOPLE: u64 = 60;
/// One in so many plans that have a price is answered, too: that writes to disk.
const ANSWERED: u32 = 8;
/// ε of an answer, in 1e-9, so small that a budget holds a million of them.
const SMALL_EPSILON: u64 = 1_000_000;

/// How far an input came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    Refused,
    Admitted,
    Lowered,
    Quoted,
    Executed,
}

impl Reached {
    pub const ALL: [Self; 5] = [
        Self::Refused,
        Self::Admitted,
        Self::Lowered,
        Self::Quoted,
        Self::Executed,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused by the gate",
            Self::Admitted => "by lowering",
            Self::Lowered => "by analysis",
            Self::Quoted => "quoted",
            Self::Executed => "answered",
        }
    }
}

pub struct Subject {
    pub config: NodeConfig,
    node: Node,
    runtime: Runtime,
    asked: u64,
    _folder: TempDir,
}

impl Subject {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        let options = SynthOptions {
            regions: 1,
            ..SynthOptions::new(&data, PEOPLE)
        };
        let region = generate(&options, &|_| ()).unwrap().regions.remove(0);
        let place = folder.path().join("federation");
        init(&InitOptions {
            folder: place.clone(),
            regions: vec![],
            data: None,
            unit: None,
            policy: Some(data.join("policy.toml")),
            port: 0,
        })
        .unwrap();
        let mut config = NodeConfig::load(&place.join(region).join("node.toml")).unwrap();
        let allowance = AllowanceConfig {
            epsilon: Epsilon::try_from(1000.0).unwrap(),
            delta: Delta::try_from(1e-6).unwrap(),
        };
        config.budget = BudgetConfig {
            project: allowance,
            total: allowance,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let node = runtime.block_on(Node::open(&config)).unwrap();
        Self {
            config,
            node,
            runtime,
            asked: 0,
            _folder: folder,
        }
    }

    /// Sends bytes all the way. An error is a finding: what has a price must be answered.
    pub fn ask(
        &mut self,
        target: Target,
        bytes: &[u8],
        rng: &mut impl Rng,
    ) -> Result<Reached, String> {
        if gate::admit(bytes).is_err() {
            return Ok(Reached::Refused);
        }
        let question = question(bytes, rng);
        let Ok(admitted) = Admitted::admit(&self.node, &question) else {
            return Ok(Reached::Admitted);
        };
        let Ok(quoted) = admitted.quote(&self.node) else {
            return Ok(Reached::Lowered);
        };
        let answered = match target {
            Target::Gate => false,
            Target::Lowering => rng.random_ratio(1, ANSWERED),
        };
        if !answered || question.epsilon_nano != SMALL_EPSILON {
            return Ok(Reached::Quoted);
        }
        self.asked += 1;
        let id = format!("fuzz-{}", self.asked).parse().unwrap();
        let reserved = match quoted.reserve(&self.node, id, true) {
            Ok(Decision::Execute(reserved)) => reserved,
            Ok(Decision::Stored(_)) => return Err("a new question was answered before".to_owned()),
            Err(refusal) if refusal.code == ErrorCode::BudgetExhausted => {
                return Ok(Reached::Quoted);
            }
            Err(refusal) => return Err(format!("the ledger refused: {refusal}")),
        };
        self.runtime
            .block_on(reserved.execute(&self.node))
            .map_err(|_| "what was charged could not be answered".to_owned())?
            .release(&self.node)
            .map(|_| Reached::Executed)
            .map_err(|_| "what was charged could not be released".to_owned())
    }
}

/// A question with this plan, and with all that may be said beside it.
fn question(bytes: &[u8], rng: &mut impl Rng) -> wire::Question {
    let mut question = wire::Question {
        contract_version: CONTRACT_VERSION,
        project: "fuzz".into(),
        plan: bytes.to_vec(),
        epsilon_nano: SMALL_EPSILON,
        ..Default::default()
    };
    if rng.random_ratio(1, 4) {
        question.epsilon_nano = 1_000_000_000;
        question.delta_atto = [0, 1, 1_000_000_000_000][rng.random_range(0..3)];
        question.max_groups_contributed = rng.random_range(0..4);
        question.purpose = rng.random_range(0..3);
        question.mechanism = rng.random_range(0..4);
    }
    question.count_clipped = rng.random();
    question
}
