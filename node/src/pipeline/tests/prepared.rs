//! Prepared tables give exactly the vector that the tables' own files give, before noise: held on
//! generated tables and questions.

use std::{fs::File, path::Path};

use datafusion::{
    arrow::array::{
        ArrayRef, BooleanArray, Date32Array, Float64Array, Int16Array, Int64Array, RecordBatch,
        StringArray,
    },
    physical_plan::displayable,
};
use parquet::arrow::ArrowWriter;
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};

use super::{cluster::Paper, *};
use crate::{
    execute::{self, Cluster},
    ingest::{IngestOptions, ingest},
    pass::Pass,
    plan::rebuild::rebuild,
};

const TABLES: &str = r#"
region = "north"
listen = "127.0.0.1:0"
persons = 1000
LEDGER

[budget]
project = { epsilon = 10.0, delta = 1e-6 }
total   = { epsilon = 10.0, delta = 1e-6 }

[[table]]
name = "episodes"
path = "episodes.parquet"
unit = "patient_id"
max_rows_per_unit = 6

[table.columns]
patient_id = {}
service = { values = ["ward", "clinic", "home"] }
urgent = { values = [false, true], nulls = false }
start_date = { range = ["2020-01-01", "2021-12-31"] }
cost = { range = [0, 1000] }
waited = { range = [0, 100] }
note = {}

[[table]]
name = "patients"
path = "patients.parquet"
unit = "patient_id"
max_rows_per_unit = 1

[table.columns]
patient_id = {}
municipality = { values = ["Alta", "Bodø", "Narvik"], nulls = false }
birth_year = { values = [1940, 1950, 1960, 1970, 1980, 1990, 2000], nulls = false }

[[table]]
name = "inclusions"
path = "inclusions.parquet"
unit = "patient_id"
max_rows_per_unit = 1

[table.columns]
patient_id = {}
included_on = { range = ["2020-01-01", "2021-12-31"] }
risk = { values = ["low", "high"], nulls = false }

[[table]]
name = "places"
path = "places.csv"

[table.columns]
municipality = {}
county = {}
"#;

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    fn rarely(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

fn write(folder: &Path, name: &str, columns: Vec<(&str, ArrayRef)>) {
    let named = columns
        .into_iter()
        .map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(named).unwrap();
    let file = File::create(folder.join(format!("{name}.parquet"))).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Units as integers or texts; the extremes are among them.
fn units(units: &[Option<i64>], texts: bool) -> ArrayRef {
    let integer = |unit: i64| match unit {
        0 => i64::MIN,
        1 => i64::MAX,
        unit => unit - 50,
    };
    let units = units.iter().map(|unit| unit.map(integer));
    if texts {
        let texts = units.map(|unit| unit.map(|unit| format!("p{unit}")));
        Arc::new(texts.collect::<StringArray>())
    } else {
        Arc::new(units.collect::<Int64Array>())
    }
}

/// Tables that keep few of the declarations: values that aren't listed, costs outside the range
/// and none at all, persons with a hundred rows, persons that other tables don't know.
fn generate(folder: &Path, seed: u64, texts: bool) {
    let mut numbers = Numbers(seed);
    let persons = 1 + numbers.below(400);
    let mut who = vec![];
    for person in 0..persons {
        let rows = match numbers.below(10) {
            0 => 0,
            1 => numbers.below(100),
            _ => numbers.below(8),
        };
        who.extend((0..rows).map(|_| Some(person as i64)));
    }
    who.extend([None, None]);
    for row in (1..who.len()).rev() {
        who.swap(row, numbers.below(row as u64 + 1) as usize);
    }
    let rows = who.len();
    let mut column = |of: &mut dyn FnMut(&mut Numbers)| (0..rows).for_each(|_| of(&mut numbers));
    let (mut service, mut urgent, mut start) = (vec![], vec![], vec![]);
    let (mut cost, mut waited, mut note) = (vec![], vec![], vec![]);
    let services = ["ward", "ward", "clinic", "home", "nowhere"];
    column(&mut |n| service.push((!n.rarely(20)).then(|| n.one_of(&services))));
    column(&mut |n| urgent.push((!n.rarely(30)).then(|| n.rarely(3))));
    column(&mut |n| start.push((!n.rarely(40)).then(|| 18_200 + n.below(800) as i32)));
    let odd = [f64::NAN, -0.0, f64::INFINITY, -3.5];
    column(&mut |n| {
        cost.push((!n.rarely(15)).then(|| match n.below(20) {
            0 => n.one_of(&odd),
            _ => n.below(130_000) as f64 / 100.0,
        }));
    });
    column(&mut |n| waited.push((!n.rarely(4)).then(|| n.below(120) as i16)));
    // More words than one byte counts.
    column(&mut |n| note.push((!n.rarely(9)).then(|| format!("note {}", n.below(700)))));
    write(
        folder,
        "episodes",
        vec![
            ("patient_id", units(&who, texts)),
            ("service", Arc::new(StringArray::from(service))),
            ("urgent", Arc::new(BooleanArray::from(urgent))),
            ("start_date", Arc::new(Date32Array::from(start))),
            ("cost", Arc::new(Float64Array::from(cost))),
            ("waited", Arc::new(Int16Array::from(waited))),
            ("note", Arc::new(StringArray::from(note))),
        ],
    );
    let mut who = vec![];
    for person in 0..persons + 20 {
        let rows = if numbers.rarely(12) {
            numbers.below(3)
        } else {
            1
        };
        who.extend((0..rows).map(|_| Some(person as i64)));
    }
    let towns = ["Alta", "Bodø", "Narvik", "Oslo"];
    let town = who
        .iter()
        .map(|_| (!numbers.rarely(30)).then(|| numbers.one_of(&towns)));
    let town: StringArray = town.collect();
    let born = who.iter().map(|_| 1_930 + 10 * numbers.below(9) as i16);
    let born: Int16Array = born.map(Some).collect();
    write(
        folder,
        "patients",
        vec![
            ("patient_id", units(&who, texts)),
            ("municipality", Arc::new(town)),
            ("birth_year", Arc::new(born)),
        ],
    );
    let who: Vec<_> = (0..persons)
        .rev()
        .filter(|_| numbers.rarely(3))
        .map(|person| Some(person as i64))
        .collect();
    let day = who
        .iter()
        .map(|_| (!numbers.rarely(10)).then(|| 18_262 + numbers.below(731) as i32));
    let day: Date32Array = day.collect();
    let risk = who.iter().map(|_| Some(numbers.one_of(&["low", "high"])));
    let risk: StringArray = risk.collect();
    write(
        folder,
        "inclusions",
        vec![
            ("patient_id", units(&who, texts)),
            ("included_on", Arc::new(day)),
            ("risk", Arc::new(risk)),
        ],
    );
    let places = "municipality,county\nAlta,Finnmark\nBodø,Nordland\nNarvik,Nordland\n";
    std::fs::write(folder.join("places.csv"), places).unwrap();
}

/// A node over the tables' own files, and one over the same tables prepared.
struct Twins {
    plain: Node,
    prepared: Node,
    _folder: TempDir,
}

async fn twins(seed: u64, texts: bool, partitions: usize) -> Twins {
    let folder = TempDir::new().unwrap();
    generate(folder.path(), seed, texts);
    twins_over(folder, partitions, seed.is_multiple_of(2)).await
}

/// `hot` columns are held in memory.
async fn twins_over(folder: TempDir, partitions: usize, hot: bool) -> Twins {
    let config = |extra: &str| {
        let file = folder.path().join("node.toml");
        NodeConfig::parse(&file, &TABLES.replace("LEDGER", extra)).unwrap()
    };
    let plain = config("ledger = \"plain.sqlite\"");
    let limits = format!("limits = {{ hot_mib = {} }}", i32::from(hot));
    let own = "ledger = \"prepared.sqlite\"\nprepared = \"prepared\"";
    let prepared = config(&format!("{own}\n{limits}"));
    let options = IngestOptions {
        folder: folder.path().join("prepared"),
        memory_mib: 64,
        partitions: Some(partitions),
        threads: None,
    };
    ingest(&plain, &options, &|_| ()).await.unwrap();
    Twins {
        plain: Node::open(&plain).await.unwrap(),
        prepared: Node::open(&prepared).await.unwrap(),
        _folder: folder,
    }
}

/// Which way the rows take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Any,
    Plan,
    Pass,
    Cluster,
}

/// The vector before noise; nothing for a refused question, or one that isn't for a pass.
async fn cells(node: &Node, question: &wire::Question, way: Way) -> Option<Vec<i64>> {
    let quoted = Admitted::admit(node, question).ok()?.quote(node).ok()?;
    let (query, quote) = (&quoted.lowered.query, &quoted.quote);
    let (catalogue, engine) = (&node.catalogue, &node.engine);
    let vector = match way {
        Way::Any => {
            let run = execute::execute(&quoted.ready, query, quote, catalogue, engine, None);
            exact(run.await.unwrap())
        }
        Way::Cluster => {
            let cluster = Paper::default();
            let (ready, cluster) = (&quoted.ready, Some(&cluster as &dyn Cluster));
            let run = execute::execute(ready, query, quote, catalogue, engine, cluster);
            exact(run.await.unwrap())
        }
        Way::Plan => {
            let rows = rebuild(query, quote, catalogue.policy(), catalogue).unwrap();
            let run = execute::by_plan(rows, query, quote, catalogue, engine);
            run.await.unwrap().finish()
        }
        Way::Pass => {
            let prepared = catalogue.prepared().unwrap();
            let pass = Pass::new(query, quote, catalogue.policy(), prepared, &engine.state());
            Arc::new(pass.unwrap()?).run(quote).await.unwrap().finish()
        }
    };
    Some(vector)
}

fn exact(outcome: Outcome) -> Vec<i64> {
    match outcome {
        Outcome::Exact(vector) => vector.cells().to_vec(),
        Outcome::AboveThreshold(_) => panic!("the groups are public"),
    }
}

const FROM: &[&str] = &[
    "episodes e",
    "episodes e JOIN patients p ON e.patient_id = p.patient_id",
    "episodes e LEFT JOIN inclusions i ON e.patient_id = i.patient_id AND i.included_on > e.start_date",
    "episodes e JOIN inclusions i ON e.patient_id = i.patient_id",
    "episodes e JOIN patients p ON e.patient_id = p.patient_id LEFT JOIN inclusions i ON i.patient_id = p.patient_id",
    "patients p JOIN episodes e ON e.patient_id = p.patient_id AND e.urgent",
    "episodes e JOIN episodes f ON e.patient_id = f.patient_id AND f.start_date > e.start_date",
    "episodes e JOIN (SELECT patient_id, COUNT(*) AS n, SUM(cost) AS s, MIN(start_date) AS f FROM episodes WHERE urgent GROUP BY patient_id) t ON t.patient_id = e.patient_id",
    "patients p JOIN places l ON p.municipality = l.municipality",
    "(SELECT patient_id, service, cost, start_date, urgent, waited, note FROM episodes WHERE urgent UNION ALL SELECT patient_id, service, cost, start_date, urgent, waited, note FROM episodes WHERE cost > 500) e",
    "(SELECT patient_id, COUNT(*) AS n, SUM(waited) AS w, AVG(LEAST(GREATEST(cost, 0), 900)) AS a FROM episodes GROUP BY patient_id HAVING COUNT(*) >= 2) t",
    "(SELECT patient_id, service, COUNT(*) AS n FROM episodes GROUP BY patient_id, service) t",
    "episodes e JOIN inclusions i ON e.patient_id = i.patient_id AND i.included_on > e.start_date JOIN patients p ON p.patient_id = e.patient_id",
    "patients p LEFT JOIN inclusions i ON i.patient_id = p.patient_id AND i.risk = 'high' LEFT JOIN episodes e ON e.patient_id = p.patient_id AND e.start_date < i.included_on",
    "episodes e LEFT JOIN (SELECT patient_id, COUNT(*) AS n FROM episodes WHERE urgent GROUP BY patient_id) t ON t.patient_id = e.patient_id AND t.n > e.waited",
];

const WHERE: &[&str] = &[
    "TRUE",
    "e.urgent",
    "e.service = 'ward' AND e.urgent AND e.start_date >= DATE '2020-06-01'",
    "e.cost BETWEEN 10 AND 800.5",
    "e.service IS NULL OR e.note LIKE '%7'",
    "e.start_date >= i.included_on - INTERVAL '90 days' AND e.start_date < i.included_on + INTERVAL '90 days'",
    "p.birth_year > 1955 AND p.municipality <> 'Alta'",
    "EXISTS (SELECT 1 FROM inclusions x WHERE x.patient_id = e.patient_id)",
    "NOT EXISTS (SELECT 1 FROM inclusions x WHERE x.patient_id = e.patient_id AND x.risk = 'high')",
    "EXISTS (SELECT 1 FROM episodes x WHERE x.patient_id = e.patient_id AND x.cost > e.cost)",
    "p.patient_id IN (SELECT patient_id FROM episodes WHERE service = 'home')",
    "t.n > 2",
    "i.patient_id IS NULL",
    "e.start_date > DATE '2030-01-01'",
];

const KEYS: &[&str] = &[
    "",
    "e.service",
    "e.service, e.urgent",
    "e.region",
    "CASE WHEN e.cost > 500 THEN 'costly' WHEN e.cost > 100 THEN 'middling' ELSE 'cheap' END",
    "p.municipality",
    "CASE WHEN p.birth_year > 1970 THEN 'young' ELSE 'old' END, p.municipality",
    "date_part('year', e.start_date)",
    "i.risk",
    "l.county",
    "LEAST(t.n, 5)",
    "t.service",
    "p.birth_year, e.service",
];

const AGGREGATES: &[&str] = &[
    "COUNT(*)",
    "COUNT(DISTINCT e.patient_id)",
    "COUNT(DISTINCT p.patient_id)",
    "SUM(e.cost), COUNT(e.cost)",
    "AVG(e.cost)",
    "SUM(CASE WHEN e.start_date < i.included_on THEN 1 ELSE 0 END), SUM(CASE WHEN e.start_date < i.included_on THEN 0 ELSE 1 END)",
    "COUNT(e.waited), SUM(e.waited), COUNT(DISTINCT e.patient_id)",
    "COUNT(*) FILTER (WHERE e.service = 'ward'), SUM(e.cost) FILTER (WHERE e.urgent)",
    "SUM(t.n), COUNT(*)",
    "SUM(LEAST(GREATEST(t.s, 0), 5000))",
    "SUM(t.w), AVG(t.a)",
    "COUNT(DISTINCT t.patient_id)",
    "SUM(e.waited * 2 - e.waited % 7), SUM(ROUND(e.cost / 3))",
];

fn sql(from: &str, condition: &str, keys: &str, aggregates: &str) -> String {
    let (select, group) = match keys {
        "" => (String::new(), String::new()),
        keys => (format!("{keys}, "), format!(" GROUP BY {keys}")),
    };
    format!("SELECT {select}{aggregates} FROM {from} WHERE {condition}{group}")
}

/// Questions that name only what their tables have.
fn any_question() -> impl Strategy<Value = String> {
    let names = |text: &str, alias: char| {
        let start = format!("{alias}.");
        text.match_indices(&start).any(|(at, _)| {
            !text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
        })
    };
    let fits = move |from: &str, part: &str| {
        let aliases = "epiltf".chars();
        let mut known = aliases.clone().filter(|alias| {
            from.split([' ', ',', ')'])
                .any(|word| word == alias.to_string())
        });
        let known: Vec<char> = known.by_ref().collect();
        let inner = part.contains("SELECT");
        let named: Vec<char> = aliases.filter(|alias| names(part, *alias)).collect();
        named.iter().all(|alias| known.contains(alias))
            // A union's and a subquery's columns are what they list.
            && !(inner && from.starts_with('('))
    };
    (
        proptest::sample::select(FROM),
        any::<[proptest::sample::Index; 3]>(),
    )
        .prop_map(move |(from, [condition, keys, aggregates])| {
            let of = |list: &[&'static str], index: proptest::sample::Index| {
                let fitting: Vec<_> = list.iter().filter(|part| fits(from, part)).collect();
                **index.get(&fitting)
            };
            sql(
                from,
                of(WHERE, condition),
                of(KEYS, keys),
                of(AGGREGATES, aggregates),
            )
        })
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_tables_give_the_same_vector() {
    let (mut answered, mut passed) = (0, 0);
    // Each with 40 questions; `PROPTEST_CASES` says for more.
    let batches = Config::default().cases.div_ceil(40).max(10);
    let mut runner = TestRunner::new(Config::default());
    let cases = (
        any::<u64>(),
        any::<bool>(),
        proptest::sample::select(&[1_usize, 2, 8][..]),
        proptest::collection::vec((any_question(), any::<bool>(), 0..4_u64), 40),
    );
    for _ in 0..batches {
        let case = cases.new_tree(&mut runner).unwrap().current();
        let (seed, texts, partitions, questions) = case;
        let twins = twins(seed, texts, partitions).await;
        for (sql, gaussian, groups) in questions {
            let Some(mut question) = try_question(&twins.plain, &sql) else {
                continue;
            };
            question.max_groups_contributed = groups;
            if gaussian {
                // Enough to be chosen where a person reaches several cells.
                question.delta_atto = 1_000_000_000_000;
            }
            let Some(plain) = cells(&twins.plain, &question, Way::Any).await else {
                continue;
            };
            answered += 1;
            let there = cells(&twins.plain, &question, Way::Cluster).await;
            assert_eq!(there.as_ref(), Some(&plain), "cluster, seed {seed}: {sql}");
            for way in [Way::Plan, Way::Pass] {
                let Some(prepared) = cells(&twins.prepared, &question, way).await else {
                    continue;
                };
                passed += usize::from(way == Way::Pass);
                assert_eq!(
                    prepared, plain,
                    "{way:?}, seed {seed}, texts {texts}, {partitions}: {sql}"
                );
            }
        }
    }
    println!("{answered} answered, {passed} by a pass");
    assert!(
        answered > 150 && passed > answered / 2,
        "{answered} {passed}"
    );
}

/// The measures' own bounds, with totals that clip some persons.
fn clipping_frame(quote: &Quote, numbers: &mut Numbers) -> Vec<wire::MeasureFrame> {
    let mut of_measure = |measure: wire::Measure| {
        let of_rows = 1.0 + numbers.below(8) as f64;
        let range = |factor: &wire::Factor| wire::Interval {
            low: factor.low,
            high: factor.high,
            centre: factor.centre,
        };
        let most: f64 = measure
            .factors
            .iter()
            .map(|factor| factor.high.abs().max(1.0))
            .product();
        wire::MeasureFrame {
            rows: measure.rows,
            ranges: measure.factors.iter().map(range).collect(),
            values: measure.values,
            total: of_rows * most / 4.0,
        }
    };
    let measures = quote.measures.iter().map(answer::measure);
    measures.map(&mut of_measure).collect()
}

/// An answer right after a search for its bounds is made of the rows that the search found.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_kept_rows_is_the_same() {
    let (mut searched, mut numbers) = (0, Numbers(1));
    let mut runner = TestRunner::new(Config::default());
    let cases = (
        any::<u64>(),
        any::<bool>(),
        proptest::sample::select(&[1_usize, 2, 8][..]),
        proptest::collection::vec((any_question(), any::<bool>()), 40),
    );
    for _ in 0..Config::default().cases.div_ceil(40).max(6) {
        let case = cases.new_tree(&mut runner).unwrap().current();
        let (seed, texts, partitions, questions) = case;
        let twins = twins(seed, texts, partitions).await;
        let kept = twins.prepared.catalogue.prepared().unwrap().kept();
        for (sql, gaussian) in questions {
            let Some(mut question) = try_question(&twins.plain, &sql) else {
                continue;
            };
            if gaussian {
                question.delta_atto = 1_000_000_000_000;
            }
            let admitted = Admitted::admit(&twins.plain, &question);
            let Some(quoted) = admitted.ok().and_then(|it| it.quote(&twins.plain).ok()) else {
                continue;
            };
            let search = wire::Question {
                purpose: wire::Purpose::Totals.into(),
                ..question.clone()
            };
            let Some(totals) = cells(&twins.prepared, &search, Way::Pass).await else {
                continue;
            };
            let plain = cells(&twins.plain, &search, Way::Any).await.unwrap();
            assert_eq!(totals, plain, "totals, seed {seed}, texts {texts}: {sql}");
            assert_eq!(kept.count(), 1, "{sql}");
            question.frame = clipping_frame(&quoted.quote, &mut numbers);
            question.count_clipped = true;
            let prepared = cells(&twins.prepared, &question, Way::Pass).await.unwrap();
            assert_eq!(kept.count(), 0, "{sql}");
            let plain = cells(&twins.plain, &question, Way::Any).await.unwrap();
            assert_eq!(prepared, plain, "seed {seed}, texts {texts}: {sql}");
            searched += 1;
        }
    }
    assert!(searched > 60, "{searched}");
}

/// Statistics leave NaN out, which is greater than all numbers: a file in which all others are small
/// must not be passed over for it, nor NaN be taken for the one value that all others have.
#[tokio::test(flavor = "multi_thread")]
async fn whether_a_row_is_there_does_not_hang_on_the_rows_beside_it() {
    let mut vectors = vec![];
    for costs in [&[f64::NAN, 5.0][..], &[f64::NAN, 3_000.0], &[3_000.0]] {
        let folder = TempDir::new().unwrap();
        generate(folder.path(), 1, false);
        let rows = costs.len();
        let who: Vec<_> = (0..rows).map(|person| Some(person as i64 + 5)).collect();
        write(
            folder.path(),
            "episodes",
            vec![
                ("patient_id", units(&who, false)),
                ("service", Arc::new(StringArray::from(vec!["ward"; rows]))),
                ("urgent", Arc::new(BooleanArray::from(vec![true; rows]))),
                (
                    "start_date",
                    Arc::new(Date32Array::from(vec![18_300; rows])),
                ),
                ("cost", Arc::new(Float64Array::from(costs.to_vec()))),
                ("waited", Arc::new(Int16Array::from(vec![1; rows]))),
                ("note", Arc::new(StringArray::from(vec!["note"; rows]))),
            ],
        );
        let twins = twins_over(folder, 1, false).await;
        let question = question(
            &twins.plain,
            "SELECT COUNT(*) FROM episodes WHERE cost > 2000",
        );
        let mut of_ways = vec![];
        of_ways.extend(cells(&twins.plain, &question, Way::Any).await.unwrap());
        for way in [Way::Plan, Way::Pass] {
            of_ways.extend(cells(&twins.prepared, &question, way).await.unwrap());
        }
        vectors.push(of_ways);
    }
    let both: Vec<i64> = vectors[0]
        .iter()
        .zip(&vectors[2])
        .map(|(a, b)| a + b)
        .collect();
    assert_eq!(both, vectors[1], "{vectors:?}");
    assert!(vectors[0].iter().all(|cell| *cell > 0));
}

/// The benchmark's questions.
const QUESTIONS: [&str; 5] = [
    "SELECT service, COUNT(*) FROM episodes GROUP BY service",
    "SELECT e.region, p.municipality, SUM(e.cost) FROM episodes e \
     JOIN patients p ON e.patient_id = p.patient_id GROUP BY e.region, p.municipality",
    "SELECT CASE WHEN p.birth_year > 1970 THEN 'young' ELSE 'old' END, COUNT(DISTINCT e.patient_id) \
     FROM episodes e JOIN patients p ON e.patient_id = p.patient_id GROUP BY 1",
    "SELECT e.service, SUM(CASE WHEN e.start_date < i.included_on THEN 1 ELSE 0 END) \
     FROM episodes e JOIN inclusions i ON e.patient_id = i.patient_id \
     WHERE e.start_date >= i.included_on - INTERVAL '365 days' \
       AND e.start_date < i.included_on + INTERVAL '365 days' GROUP BY e.service",
    "SELECT region, COUNT(*) FROM (SELECT region, patient_id FROM episodes \
     WHERE service = 'ward' AND urgent AND start_date >= DATE '2020-06-01' \
     GROUP BY region, patient_id HAVING COUNT(*) >= 3) t GROUP BY region",
];

/// The engine's own planner sees that nothing has to be exchanged or sorted.
#[tokio::test(flavor = "multi_thread")]
async fn plans_over_prepared_tables_neither_exchange_nor_sort() {
    let twins = twins(1, false, 8).await;
    for sql in QUESTIONS {
        let question = question(&twins.plain, sql);
        let text = async |node: &Node| {
            let quoted = Admitted::admit(node, &question)
                .unwrap()
                .quote(node)
                .unwrap();
            let query = &quoted.lowered.query;
            let rows = rebuild(
                query,
                &quoted.quote,
                node.catalogue.policy(),
                &node.catalogue,
            );
            let (quote, catalogue) = (&quoted.quote, &node.catalogue);
            let plan = execute::plan(rows.unwrap(), query, quote, catalogue, &node.engine);
            displayable(&*plan.await.unwrap()).indent(false).to_string()
        };
        let plain = text(&twins.plain).await;
        assert!(plain.contains("SortExec"), "{sql}\n{plain}");
        let prepared = text(&twins.prepared).await;
        for slow in ["SortExec", "RepartitionExec", "SortPreservingMergeExec"] {
            assert!(!prepared.contains(slow), "{sql}\n{prepared}");
        }
        assert!(prepared.contains("PreparedScan"), "{sql}\n{prepared}");
        let passed = cells(&twins.prepared, &question, Way::Pass).await;
        assert!(passed.is_some(), "{sql}");
    }
    // What needs an exchange has it, and then prepared tables don't pass for the engine's own.
    let sql = "SELECT COUNT(*) FROM patients p JOIN places l ON p.municipality = l.municipality \
               JOIN episodes e ON e.patient_id = p.patient_id";
    let question = question(&twins.plain, sql);
    let plain = cells(&twins.plain, &question, Way::Any).await.unwrap();
    let prepared = cells(&twins.prepared, &question, Way::Any).await;
    assert_eq!(prepared.unwrap(), plain);
}
