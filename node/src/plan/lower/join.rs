//! Trusted. Lowers joins: of private tables on the privacy unit, and with public tables.

use datafusion::{
    common::{JoinType, NullEquality},
    logical_expr as logical,
};
use skerry_privacy::{
    analysis,
    question::{Comparison, Expression, Function, JoinKind, Matching, Relation},
};
use skerry_proto::{DataType, ErrorCode, Refusal};

use super::{Lowering, Part, PartColumn, Scope, UnitColumn, unsupported};

/// A join's equal pairs, over the left and over the right side's columns.
type Pairs = Vec<(Expression, Expression)>;

impl Lowering<'_> {
    pub(super) fn join(&self, join: &logical::Join) -> Result<Part, Refusal> {
        let left = self.relation(&join.left)?;
        let right = self.relation(&join.right)?;
        if join.null_equality == NullEquality::NullEqualsNull && !(left.private && right.private) {
            return Err(unsupported(
                "a join with a public table in which NULL equals NULL",
                "join with =",
            ));
        }
        let left_scope = Scope {
            schema: join.left.schema(),
            columns: &left.columns,
            repeated: &self.repeated,
        };
        let right_scope = Scope {
            schema: join.right.schema(),
            columns: &right.columns,
            repeated: &self.repeated,
        };
        let mut pairs = vec![];
        for (on_left, on_right) in &join.on {
            let (on_left, left_type) = left_scope.lower(on_left)?;
            let (on_right, right_type) = right_scope.lower(on_right)?;
            if left_type != right_type {
                return Err(unsupported("a join of two types", "cast one side"));
            }
            pairs.push((on_left, on_right));
        }
        let both: Vec<PartColumn> = left.columns.iter().chain(&right.columns).copied().collect();
        let joined_schema = join.left.schema().join(join.right.schema()).map_err(|_| {
            unsupported(
                "a join of two sides with the same name",
                "give each an alias",
            )
        })?;
        let filter = match &join.filter {
            None => None,
            Some(filter) => {
                let scope = Scope {
                    schema: &joined_schema,
                    columns: &both,
                    repeated: &self.repeated,
                };
                Some(scope.lower(filter)?.0)
            }
        };
        match (left.private, right.private) {
            (true, true) => private(join, left, right, pairs, filter, both),
            (true, false) | (false, true) => self.public(join, left, right, pairs, filter, both),
            (false, false) => Err(unsupported(
                "a join of public tables below an aggregate over private ones",
                "join each public table with the private one",
            )),
        }
    }
}

/// All conditions together; nothing if there are none.
fn all(mut conditions: Vec<Expression>) -> Option<Expression> {
    match conditions.len() {
        0 => None,
        1 => conditions.pop(),
        _ => Some(Expression::And(conditions)),
    }
}

fn private(
    join: &logical::Join,
    left: Part,
    right: Part,
    pairs: Pairs,
    filter: Option<Expression>,
    both: Vec<PartColumn>,
) -> Result<Part, Refusal> {
    let says_unit = |part: &Part, key: &Expression| part.unit_of(key) != UnitColumn::No;
    let (on_unit, others): (Pairs, Pairs) = pairs
        .into_iter()
        .partition(|(a, b)| says_unit(&left, a) && says_unit(&right, b));
    if on_unit.is_empty() {
        return Err(Refusal::new(
            ErrorCode::JoinNotOnUnit,
            "private tables are joined on something else than the privacy unit",
            "join them on the unit: ON a.unit = b.unit; further conditions may follow with AND",
        ));
    }
    // A unit that is NULL where a left join found nothing equals the row's own where it isn't.
    let mut there = vec![];
    for (a, b) in on_unit {
        if left.unit_of(&a) == UnitColumn::OrNull {
            there.push(a.is_known());
        }
        if right.unit_of(&b) == UnitColumn::OrNull {
            there.push(shifted(&b, left.columns.len())?.is_known());
        }
    }
    if !there.is_empty() && join.null_equality == NullEquality::NullEqualsNull {
        return Err(unsupported(
            "INTERSECT or EXCEPT with a unit that may be NULL",
            "leave out the rows for which the left join found nothing",
        ));
    }
    // NOT IN: without NULLs in it, the unit has no null-aware case.
    if join.null_aware && !(others.is_empty() && there.is_empty()) {
        return Err(unsupported("NOT IN with other columns", "write NOT EXISTS"));
    }
    let offset = left.columns.len();
    let mut conditions: Vec<Expression> = others
        .into_iter()
        .map(|(a, b)| {
            let b = shifted(&b, offset)?;
            Ok(match join.null_equality {
                NullEquality::NullEqualsNothing => Expression::Compare {
                    operator: Comparison::Equal,
                    left: Box::new(a),
                    right: Box::new(b),
                },
                // INTERSECT and EXCEPT. The unit itself is never NULL.
                NullEquality::NullEqualsNull => Expression::Call {
                    function: Function::Same,
                    arguments: vec![a, b],
                },
            })
        })
        .collect::<Result<_, Refusal>>()?;
    conditions.extend(there);
    conditions.extend(filter);
    let condition = all(conditions);
    let (kind, swapped) = match join.join_type {
        JoinType::Inner => (Ok(JoinKind::Inner), false),
        JoinType::Left => (Ok(JoinKind::Left), false),
        JoinType::Right => (Ok(JoinKind::Left), true),
        JoinType::LeftSemi => (Err(Matching::With), false),
        JoinType::LeftAnti => (Err(Matching::Without), false),
        JoinType::LeftMark => (Err(Matching::Marked), false),
        JoinType::RightSemi => (Err(Matching::With), true),
        JoinType::RightAnti => (Err(Matching::Without), true),
        JoinType::RightMark => (Err(Matching::Marked), true),
        JoinType::Full => {
            return Err(unsupported(
                "a full join of private tables",
                "use UNION ALL, or two left joins",
            ));
        }
    };
    let right_width = right.columns.len();
    let (first, second, condition) = if swapped {
        let condition = condition
            .map(|condition| exchanged(&condition, offset, right_width))
            .transpose()?;
        (right, left, condition)
    } else {
        (left, right, condition)
    };
    let first_columns = first.columns.clone();
    let (first, second) = (Box::new(first.relation), Box::new(second.relation));
    let kind = match kind {
        Err(matching) => {
            return Ok(Part {
                columns: marked(first_columns, matching),
                private: true,
                relation: Relation::Semi {
                    matching,
                    left: first,
                    right: second,
                    condition,
                },
            });
        }
        Ok(kind) => kind,
    };
    let joined = Relation::Join {
        kind,
        left: first,
        right: second,
        condition,
    };
    let mut columns = both;
    if kind == JoinKind::Left {
        // Of a row without a match the other side's unit is NULL.
        let kept = if swapped {
            offset..columns.len()
        } else {
            0..offset
        };
        for (index, column) in columns.iter_mut().enumerate() {
            if column.unit == UnitColumn::Always && !kept.contains(&index) {
                column.unit = UnitColumn::OrNull;
            }
        }
    }
    Ok(Part {
        relation: if swapped {
            reordered(joined, right_width, offset)
        } else {
            joined
        },
        columns,
        private: true,
    })
}

impl Lowering<'_> {
    fn public(
        &self,
        join: &logical::Join,
        left: Part,
        right: Part,
        pairs: Pairs,
        filter: Option<Expression>,
        columns: Vec<PartColumn>,
    ) -> Result<Part, Refusal> {
        let private_first = left.private;
        let kind = match (join.join_type, private_first) {
            (JoinType::Inner, _) => Ok(JoinKind::Inner),
            (JoinType::Left, true) | (JoinType::Right, false) => Ok(JoinKind::Left),
            (JoinType::LeftSemi, true) | (JoinType::RightSemi, false) => Err(Matching::With),
            (JoinType::LeftAnti, true) | (JoinType::RightAnti, false) => Err(Matching::Without),
            (JoinType::LeftMark, true) | (JoinType::RightMark, false) => Err(Matching::Marked),
            (
                JoinType::Left
                | JoinType::Right
                | JoinType::Full
                | JoinType::LeftSemi
                | JoinType::RightSemi
                | JoinType::LeftAnti
                | JoinType::RightAnti
                | JoinType::LeftMark
                | JoinType::RightMark,
                _,
            ) => {
                return Err(unsupported(
                    "a join that keeps rows of a public table",
                    "keep the private side: private LEFT JOIN public; every public group appears anyway",
                ));
            }
        };
        let (left_width, right_width) = (left.columns.len(), right.columns.len());
        let (private, public, on, condition) = if private_first {
            (left, right, pairs, filter)
        } else {
            let condition = filter
                .map(|filter| exchanged(&filter, left_width, right_width))
                .transpose()?;
            let on = pairs.into_iter().map(|(a, b)| (b, a)).collect();
            (right, left, on, condition)
        };
        let kind = match kind {
            Ok(kind) => kind,
            Err(matching) if join.null_aware => {
                return self.not_in_public(private, public, on, condition, matching);
            }
            Err(matching) => {
                return Ok(Part {
                    columns: marked(private.columns, matching),
                    private: true,
                    relation: Relation::SemiPublic {
                        matching,
                        private: Box::new(private.relation),
                        public: Box::new(public.relation),
                        on,
                        condition,
                    },
                });
            }
        };
        let joined = Relation::JoinPublic {
            kind,
            private: Box::new(private.relation),
            public: Box::new(public.relation),
            on,
            condition,
        };
        Ok(Part {
            relation: if private_first {
                joined
            } else {
                reordered(joined, right_width, left_width)
            },
            columns,
            private: true,
        })
    }

    /// `x NOT IN (SELECT y FROM public)`: true where x is known and none of the values, if these
    /// are all known, which can be seen here; where there are none, always.
    fn not_in_public(
        &self,
        private: Part,
        public: Part,
        on: Pairs,
        condition: Option<Expression>,
        matching: Matching,
    ) -> Result<Part, Refusal> {
        let ([(key, of_public)], None, Matching::Without) = (on.as_slice(), &condition, matching)
        else {
            return Err(unsupported("NOT IN with other columns", "write NOT EXISTS"));
        };
        let rows = analysis::public_rows(&public.relation, self.policy)?;
        if rows.iter().any(|row| of_public.evaluate(row).is_null()) {
            return Err(unsupported(
                "NOT IN over a public table with NULL among the values, which is never true,",
                "write NOT EXISTS, or leave the NULLs out: WHERE … IS NOT NULL",
            ));
        }
        if rows.is_empty() {
            return Ok(private);
        }
        let known = key.clone().is_known();
        Ok(Part {
            columns: private.columns,
            private: true,
            relation: Relation::Filter {
                input: Box::new(Relation::SemiPublic {
                    matching,
                    private: Box::new(private.relation),
                    public: Box::new(public.relation),
                    on,
                    condition,
                }),
                predicate: known,
            },
        })
    }
}

/// With the column that says whether there is a match, if that is what was asked.
fn marked(mut columns: Vec<PartColumn>, matching: Matching) -> Vec<PartColumn> {
    match matching {
        Matching::With | Matching::Without => {}
        Matching::Marked => columns.push(PartColumn {
            data_type: DataType::Boolean,
            unit: UnitColumn::No,
        }),
    }
    columns
}

/// The same expression over columns at other positions.
fn moved(
    expression: &Expression,
    position: impl Fn(usize) -> usize,
) -> Result<Expression, Refusal> {
    // A condition that got lost would be another question.
    expression
        .substitute(&|index| Some(Expression::Column(position(index))))
        .ok_or_else(|| Refusal::new(ErrorCode::PlanRefused, "a join can't be planned", ""))
}

/// The same expression over a right side that now follows `offset` other columns.
fn shifted(expression: &Expression, offset: usize) -> Result<Expression, Refusal> {
    moved(expression, |index| index + offset)
}

/// The same expression after both sides changed places.
fn exchanged(
    expression: &Expression,
    left_width: usize,
    right_width: usize,
) -> Result<Expression, Refusal> {
    moved(expression, |index| {
        if index < left_width {
            index + right_width
        } else {
            index - left_width
        }
    })
}

/// Puts the last `second` columns before the first `first` ones.
fn reordered(relation: Relation, first: usize, second: usize) -> Relation {
    Relation::Project {
        input: Box::new(relation),
        columns: (first..first + second)
            .chain(0..first)
            .map(Expression::Column)
            .collect(),
    }
}
