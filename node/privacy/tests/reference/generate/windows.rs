//! Windows over the rows of a person, of all kinds.

use super::*;

pub(super) fn first_three(relation: Relation) -> Relation {
    Relation::Project {
        input: relation.into(),
        columns: (0..3).map(Expression::Column).collect(),
    }
}

pub(super) fn any_sort() -> impl Strategy<Value = Vec<SortKey>> {
    let key =
        (1usize..3, any::<bool>(), any::<bool>()).prop_map(|(column, descending, nulls_first)| {
            SortKey {
                by: Expression::Column(column),
                descending,
                nulls_first,
            }
        });
    proptest::collection::vec(key, 0..3)
}

pub(super) fn any_frame() -> impl Strategy<Value = Frame> {
    let bound = || {
        prop_oneof![
            Just(Bound::Unbounded),
            Just(Bound::Current),
            (-2i64..3).prop_map(Bound::Number),
        ]
    };
    let rows = (bound(), bound()).prop_map(|(start, end)| Frame {
        unit: FrameUnit::Rows,
        start,
        end,
    });
    let ends = || prop_oneof![Just(Bound::Unbounded), Just(Bound::Current)];
    let range = (ends(), ends()).prop_map(|(start, end)| Frame {
        unit: FrameUnit::Range,
        start,
        end,
    });
    prop_oneof![rows, range]
}

/// A window's column that is a number.
pub(super) fn any_number() -> impl Strategy<Value = WindowColumn> {
    let number = Expression::Column(2);
    let function = prop_oneof![
        Just(WindowFunction::Rank),
        Just(WindowFunction::DenseRank),
        (
            -2i64..3,
            prop_oneof![Just(Value::Null), Just(Value::Float(7.0))]
        )
            .prop_map({
                let argument = number.clone();
                move |(earlier, otherwise)| WindowFunction::Shift {
                    argument: argument.clone(),
                    earlier,
                    otherwise,
                }
            }),
        any_person_function().prop_map(move |function| WindowFunction::Aggregate {
            function,
            argument: number.clone(),
        }),
    ];
    (function, any_frame()).prop_map(|(function, frame)| WindowColumn { function, frame })
}

/// A window's column that is a text.
pub(super) fn any_text() -> impl Strategy<Value = WindowColumn> {
    let argument = || Expression::Column(1);
    let function = prop_oneof![
        any::<bool>().prop_map(move |known| WindowFunction::First {
            argument: argument(),
            known
        }),
        any::<bool>().prop_map(move |known| WindowFunction::Last {
            argument: argument(),
            known
        }),
        (
            -2i64..3,
            prop_oneof![Just(Value::Null), Just(Value::Text("none".into()))]
        )
            .prop_map(move |(earlier, otherwise)| WindowFunction::Shift {
                argument: argument(),
                earlier,
                otherwise,
            }),
    ];
    (function, any_frame()).prop_map(|(function, frame)| WindowColumn { function, frame })
}

pub(super) fn windowed(
    input: Relation,
    by_text: bool,
    order: Vec<SortKey>,
    column: WindowColumn,
) -> Relation {
    let text = by_text.then_some(Expression::Column(1));
    Relation::Window {
        input: input.into(),
        window: Window {
            keys: std::iter::once(Expression::Column(0)).chain(text).collect(),
            order,
            columns: vec![column],
        },
    }
}

/// Visits, each with the number of visits in the days before.
pub(super) fn any_visits_before() -> impl Strategy<Value = Relation> {
    (1i32..60, any::<bool>()).prop_map(|(days, descending)| Relation::Project {
        input: Relation::Window {
            input: table("visits", &["id", "kind", "cost", "day"]).into(),
            window: Window {
                keys: vec![],
                order: vec![SortKey {
                    by: Expression::Column(3),
                    descending,
                    nulls_first: descending,
                }],
                columns: vec![WindowColumn {
                    function: WindowFunction::Aggregate {
                        function: PersonFunction::Count,
                        argument: Expression::Column(3),
                    },
                    frame: Frame {
                        unit: FrameUnit::Range,
                        start: Bound::Calendar {
                            months: 0,
                            days: -days,
                        },
                        end: Bound::Current,
                    },
                }],
            },
        }
        .into(),
        columns: vec![
            Expression::Column(0),
            Expression::Column(1),
            Expression::Cast {
                value: Expression::Column(4).into(),
                to: DataType::Float,
            },
        ],
    })
}
