//! Trusted. Lowers joins: of private tables on the privacy unit, and with public tables.

use datafusion::{
    common::{JoinType, NullEquality},
    logical_expr as logical,
};
use skerry_privacy::question::{Comparison, Expression, Function, JoinKind, Relation};
use skerry_proto::{ErrorCode, Refusal};

use super::{Lowering, Part, PartColumn, Scope, unsupported};

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
            (true, false) | (false, true) => {
                public(join.join_type, left, right, pairs, filter, both)
            }
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
    let is_unit = |part: &Part, key: &Expression| matches!(key, Expression::Column(index) if part.columns[*index].unit);
    let (on_unit, others): (Pairs, Pairs) = pairs
        .into_iter()
        .partition(|(a, b)| is_unit(&left, a) && is_unit(&right, b));
    if on_unit.is_empty() {
        return Err(Refusal::new(
            ErrorCode::JoinNotOnUnit,
            "private tables are joined on something else than the privacy unit",
            "join them on the unit: ON a.unit = b.unit; further conditions may follow with AND",
        ));
    }
    // NOT IN: without NULLs in it, the unit has no null-aware case.
    if join.null_aware && !others.is_empty() {
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
    conditions.extend(filter);
    let condition = all(conditions);
    let (kind, swapped) = match join.join_type {
        JoinType::Inner => (Ok(JoinKind::Inner), false),
        JoinType::Left => (Ok(JoinKind::Left), false),
        JoinType::Right => (Ok(JoinKind::Left), true),
        JoinType::LeftSemi => (Err(false), false),
        JoinType::LeftAnti => (Err(true), false),
        JoinType::RightSemi => (Err(false), true),
        JoinType::RightAnti => (Err(true), true),
        JoinType::Full | JoinType::LeftMark | JoinType::RightMark => {
            return Err(unsupported(
                "this kind of join of private tables",
                "use an inner, left, EXISTS or NOT EXISTS join, not below OR",
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
        Err(negated) => {
            return Ok(Part {
                columns: first_columns,
                private: true,
                relation: Relation::Semi {
                    negated,
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
        // Of a row without a match the other side's unit is NULL, so it is no unit any more.
        let kept = if swapped {
            offset..columns.len()
        } else {
            0..offset
        };
        for (index, column) in columns.iter_mut().enumerate() {
            column.unit &= kept.contains(&index);
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

fn public(
    join_type: JoinType,
    left: Part,
    right: Part,
    pairs: Pairs,
    filter: Option<Expression>,
    columns: Vec<PartColumn>,
) -> Result<Part, Refusal> {
    let private_first = left.private;
    let kind = match (join_type, private_first) {
        (JoinType::Inner, _) => JoinKind::Inner,
        (JoinType::Left, true) | (JoinType::Right, false) => JoinKind::Left,
        (JoinType::Left, false) | (JoinType::Right, true) | (JoinType::Full, _) => {
            return Err(unsupported(
                "a join that keeps rows of a public table",
                "keep the private side: private LEFT JOIN public; every public group appears anyway",
            ));
        }
        (
            JoinType::LeftSemi
            | JoinType::LeftAnti
            | JoinType::LeftMark
            | JoinType::RightSemi
            | JoinType::RightAnti
            | JoinType::RightMark,
            _,
        ) => {
            return Err(unsupported(
                "EXISTS or IN over a public table",
                "join with the public table, or write the values as a list",
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
