//! Generated relations and data: a few persons, some of whom break every declaration.

use std::collections::BTreeMap;

use proptest::prelude::*;
use skerry_privacy::{
    policy::{ColumnPolicy, Domain, Ownership, Policy, TablePolicy},
    question::{
        Bound, Comparison, Expression, Frame, FrameUnit, JoinKind, Matching, PersonAggregate,
        PersonFunction, Relation, SortKey, Window, WindowColumn, WindowFunction,
    },
};
use skerry_proto::{DataType, Value};

use self::{
    joins::{any_matching, any_pairing, any_public_pairing, marked},
    windows::{any_number, any_sort, any_text, any_visits_before, first_three, windowed},
};
use super::{Data, Row, Table, Tables};

mod joins;
mod windows;

fn column(name: &str, data_type: DataType, domain: Domain, nulls: bool) -> ColumnPolicy {
    ColumnPolicy {
        name: name.into(),
        data_type,
        domain,
        nulls,
    }
}

pub fn policy(max_rows: u64) -> Policy {
    let private = |max_rows_per_unit, columns| TablePolicy {
        ownership: Ownership::Private {
            unit: "id".into(),
            max_rows_per_unit,
        },
        columns,
    };
    let id = || column("id", DataType::Integer, Domain::Unknown, true);
    let texts = |values: &[&str]| {
        Domain::Values(
            values
                .iter()
                .map(|text| Value::Text((*text).into()))
                .collect(),
        )
    };
    let public = TablePolicy {
        ownership: Ownership::Public {
            rows: vec![
                vec![Value::Text("a".into()), Value::Integer(10)],
                vec![Value::Text("b".into()), Value::Integer(20)],
                vec![Value::Text("b".into()), Value::Integer(30)],
            ],
        },
        columns: vec![
            column("code", DataType::Text, Domain::Unknown, true),
            column("weight", DataType::Integer, Domain::Unknown, true),
        ],
    };
    Policy {
        tables: BTreeMap::from([
            (
                "persons".to_owned(),
                private(
                    1,
                    vec![
                        id(),
                        column("place", DataType::Text, texts(&["a", "b", "c"]), true),
                        column(
                            "age",
                            DataType::Integer,
                            Domain::Range(Value::Integer(0), Value::Integer(100)),
                            false,
                        ),
                    ],
                ),
            ),
            (
                "visits".to_owned(),
                private(
                    max_rows,
                    vec![
                        id(),
                        column("kind", DataType::Text, texts(&["x", "y"]), true),
                        column(
                            "cost",
                            DataType::Float,
                            Domain::Range(Value::Float(-50.0), Value::Float(200.0)),
                            true,
                        ),
                        column(
                            "day",
                            DataType::Date,
                            Domain::Range(Value::Date(19_000), Value::Date(19_100)),
                            true,
                        ),
                    ],
                ),
            ),
            ("codes".to_owned(), public),
        ]),
        ..Policy::default()
    }
}

pub fn text(value: &str) -> Expression {
    Expression::Literal {
        value: Value::Text(value.into()),
        data_type: DataType::Text,
    }
}

pub fn float(value: f64) -> Expression {
    Expression::Literal {
        value: Value::Float(value),
        data_type: DataType::Float,
    }
}

pub fn compare(operator: Comparison, left: Expression, right: Expression) -> Expression {
    Expression::Compare {
        operator,
        left: left.into(),
        right: right.into(),
    }
}

pub fn table(name: &str, columns: &[&str]) -> Relation {
    Relation::Table {
        table: name.into(),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
    }
}

/// A view with declarations that data break, or with such as they keep.
fn view(input: Relation, kept: bool, max_rows: u64, listed: bool) -> Relation {
    let values = Domain::Values(vec![Value::Text("a".into()), Value::Text("x".into())]);
    let (most, end) = if kept {
        (1 << 20, 1e6)
    } else {
        (max_rows, 20.0)
    };
    Relation::Declared {
        input: input.into(),
        columns: vec![
            column("id", DataType::Integer, Domain::Unknown, true),
            column(
                "word",
                DataType::Text,
                if listed { values } else { Domain::Unknown },
                kept || listed,
            ),
            column(
                "number",
                DataType::Float,
                Domain::Range(Value::Float(-end), Value::Float(end)),
                true,
            ),
        ],
        max_rows_per_unit: most,
    }
}

/// Relations with columns (id, text with public values, number with a range). Their views'
/// declarations are true if `kept`.
pub fn any_relation(kept: bool) -> impl Strategy<Value = Relation> {
    let persons = table("persons", &["id", "place", "age"]);
    let age_as_float = Relation::Project {
        input: persons.into(),
        columns: vec![
            Expression::Column(0),
            Expression::Column(1),
            Expression::Cast {
                value: Expression::Column(2).into(),
                to: DataType::Float,
            },
        ],
    };
    let leaf = prop_oneof![
        Just(age_as_float),
        Just(table("visits", &["id", "kind", "cost"])),
        any_visits_before().boxed(),
    ];
    leaf.prop_recursive(3, 8, 2, move |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            (inner.clone(), -60.0..250.0f64).prop_map(|(input, bound)| Relation::Filter {
                input: input.into(),
                predicate: compare(Comparison::Less, Expression::Column(2), float(bound),),
            }),
            (pair.clone(), any::<bool>(), any_pairing(), any::<bool>()).prop_map(
                |((left, right), inner_join, condition, of_right)| Relation::Project {
                    input: Relation::Join {
                        kind: if inner_join {
                            JoinKind::Inner
                        } else {
                            JoinKind::Left
                        },
                        left: left.into(),
                        right: right.into(),
                        condition,
                    }
                    .into(),
                    columns: [0, if of_right { 4 } else { 1 }, 2]
                        .map(Expression::Column)
                        .to_vec(),
                }
            ),
            (pair.clone(), any_matching(), any_pairing()).prop_map(
                |((left, right), matching, condition)| marked(Relation::Semi {
                    matching,
                    left: left.into(),
                    right: right.into(),
                    condition,
                })
            ),
            (inner.clone(), any_matching(), any_public_pairing()).prop_map(
                |(private, matching, (on, condition))| {
                    marked(Relation::SemiPublic {
                        matching,
                        private: private.into(),
                        public: table("codes", &["code", "weight"]).into(),
                        on,
                        condition,
                    })
                }
            ),
            pair.prop_map(|(left, right)| Relation::Union {
                inputs: vec![left, right]
            }),
            (inner.clone(), any::<bool>(), any_public_pairing()).prop_map(
                |(private, inner_join, (on, condition))| {
                    let joined = Relation::JoinPublic {
                        kind: if inner_join {
                            JoinKind::Inner
                        } else {
                            JoinKind::Left
                        },
                        private: private.into(),
                        public: table("codes", &["code", "weight"]).into(),
                        on,
                        condition,
                    };
                    // The public text, so that the image of what was joined is tried.
                    Relation::Project {
                        input: joined.into(),
                        columns: [0, 3, 2].map(Expression::Column).to_vec(),
                    }
                }
            ),
            (inner.clone(), 1u64..4, any::<bool>())
                .prop_map(move |(input, rows, listed)| view(input, kept, rows, listed)),
            (inner.clone(), any_person_function()).prop_map(|(input, function)| {
                Relation::Project {
                    input: Relation::PerPerson {
                        input: input.into(),
                        keys: vec![Expression::Column(0), Expression::Column(1)],
                        aggregates: vec![PersonAggregate {
                            function,
                            argument: Expression::Column(2),
                        }],
                    }
                    .into(),
                    columns: vec![
                        Expression::Column(0),
                        Expression::Column(1),
                        Expression::Cast {
                            value: Expression::Column(2).into(),
                            to: DataType::Float,
                        },
                    ],
                }
            }),
            // The distinct texts of each person, each with the greatest number of all.
            inner.clone().prop_map(|input| first_three(Relation::Join {
                kind: JoinKind::Inner,
                left: Relation::Project {
                    input: Relation::PerPerson {
                        input: input.clone().into(),
                        keys: vec![Expression::Column(0), Expression::Column(1)],
                        aggregates: vec![],
                    }
                    .into(),
                    columns: vec![Expression::Column(0), Expression::Column(1), float(1.0)],
                }
                .into(),
                right: Relation::PerPerson {
                    input: input.into(),
                    keys: vec![Expression::Column(0)],
                    aggregates: vec![PersonAggregate {
                        function: PersonFunction::Maximum,
                        argument: Expression::Column(2),
                    }],
                }
                .into(),
                condition: None,
            })),
            (inner.clone(), any_sort(), any::<bool>(), 1i64..3).prop_map(
                |(input, order, by_text, few)| first_three(Relation::Filter {
                    input: windowed(
                        input,
                        by_text,
                        order,
                        WindowColumn {
                            function: WindowFunction::RowNumber,
                            frame: Frame::WHOLE,
                        },
                    )
                    .into(),
                    predicate: compare(
                        Comparison::LessOrEqual,
                        Expression::Column(3),
                        Expression::Literal {
                            value: Value::Integer(few),
                            data_type: DataType::Integer,
                        },
                    ),
                })
            ),
            (inner.clone(), any_sort(), any::<bool>(), any_number()).prop_map(
                |(input, order, by_text, column)| Relation::Project {
                    input: windowed(input, by_text, order, column).into(),
                    columns: vec![
                        Expression::Column(0),
                        Expression::Column(1),
                        Expression::Cast {
                            value: Expression::Column(3).into(),
                            to: DataType::Float,
                        },
                    ],
                }
            ),
            (inner, any_sort(), any::<bool>(), any_text()).prop_map(
                |(input, order, by_text, column)| Relation::Project {
                    input: windowed(input, by_text, order, column).into(),
                    columns: [0, 3, 2].map(Expression::Column).to_vec(),
                }
            ),
        ]
    })
}

fn any_person_function() -> impl Strategy<Value = PersonFunction> {
    prop_oneof![
        Just(PersonFunction::Count),
        Just(PersonFunction::CountDistinct),
        Just(PersonFunction::Sum),
        Just(PersonFunction::Minimum),
        Just(PersonFunction::Maximum),
        Just(PersonFunction::Average),
    ]
}

/// Data of a few persons, some of whom break every declaration.
pub fn any_data() -> impl Strategy<Value = Data> {
    let texts = || prop_oneof![Just(Value::Null), "[abcxyz]".prop_map(Value::Text),];
    let number = prop_oneof![
        4 => (-60.0..250.0f64).prop_map(Value::Float),
        1 => prop_oneof![
            Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(1e300), Just(-1e18),
        ].prop_map(Value::Float),
        1 => Just(Value::Null),
    ];
    // Some rows are nobody's.
    let unit = || {
        prop_oneof![
            12 => (1i64..5).prop_map(Value::Integer),
            1 => Just(Value::Null),
        ]
    };
    let person = (unit(), texts(), any::<i64>())
        .prop_map(|(id, place, age)| vec![id, place, Value::Integer(age)]);
    let day = prop_oneof![
        6 => (19_000i32..19_101).prop_map(Value::Date),
        1 => prop_oneof![Just(i32::MIN), Just(i32::MAX)].prop_map(Value::Date),
        1 => Just(Value::Null),
    ];
    let visit =
        (unit(), texts(), number, day).prop_map(|(id, kind, cost, day)| vec![id, kind, cost, day]);
    (
        proptest::collection::vec(person, 0..6),
        proptest::collection::vec(visit, 0..14),
    )
        .prop_map(|(persons, visits)| tables(persons, visits))
}

/// The tables of the policy with these rows.
pub fn tables(persons: Vec<Row>, visits: Vec<Row>) -> Data {
    let Ownership::Public { rows: codes } = &policy(1).tables["codes"].ownership else {
        panic!("codes are public")
    };
    let table = |columns, private, rows| Table {
        columns,
        private,
        rows,
    };
    let tables = Tables::from([
        (
            "persons",
            table(
                &[
                    ("id", DataType::Integer),
                    ("place", DataType::Text),
                    ("age", DataType::Integer),
                ],
                true,
                persons,
            ),
        ),
        (
            "visits",
            table(
                &[
                    ("id", DataType::Integer),
                    ("kind", DataType::Text),
                    ("cost", DataType::Float),
                    ("day", DataType::Date),
                ],
                true,
                visits,
            ),
        ),
        (
            "codes",
            table(
                &[("code", DataType::Text), ("weight", DataType::Integer)],
                false,
                codes.clone(),
            ),
        ),
    ]);
    Data {
        tables,
        fault: None,
    }
}
