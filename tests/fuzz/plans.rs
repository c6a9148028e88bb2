//! Plans with parts of other plans in them.

use datafusion_proto::{
    generated::datafusion_common::scalar_value::Value as Scalar,
    protobuf::{
        self, AliasNode, BetweenNode, BinaryExprNode, CaseNode, CastNode, IsNull, LogicalExprNode,
        LogicalPlanNode, Not, ScalarUdfExprNode, SelectionNode, SubqueryAliasNode, UnionNode,
        WhenThen, logical_expr_node::ExprType, logical_plan_node::LogicalPlanType,
    },
};
use prost::Message as _;
use rand::{
    Rng,
    seq::{IndexedMutRandom as _, IndexedRandom as _, SliceRandom as _},
};

use crate::{corpus::Corpus, fields};

/// Functions by their name in a plan; some of them aren't known to a node.
const FUNCTIONS: [&str; 40] = [
    "abs",
    "floor",
    "ceil",
    "round",
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "lower",
    "upper",
    "character_length",
    "btrim",
    "substr",
    "date_part",
    "date_trunc",
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "median",
    "var",
    "var_pop",
    "stddev",
    "corr",
    "covar_samp",
    "regr_slope",
    "approx_percentile_cont",
    "first_value",
    "last_value",
    "bool_or",
    "array_agg",
    "random",
    "now",
    "repeat",
    "regexp_like",
    "power",
    "concat",
    "to_timestamp",
    "string_agg",
];

const OPERATORS: [&str; 18] = [
    "Eq",
    "NotEq",
    "Lt",
    "LtEq",
    "Gt",
    "GtEq",
    "Plus",
    "Minus",
    "Multiply",
    "Divide",
    "Modulo",
    "And",
    "Or",
    "IsDistinctFrom",
    "IsNotDistinctFrom",
    "StringConcat",
    "BitwiseAnd",
    "RegexMatch",
];

const TEXTS: [&str; 9] = [
    "",
    "%",
    "_%_%_%_%_%_%",
    "\\",
    "å",
    "month",
    "2021-02-29",
    "9e99",
    "NaN",
];

/// A part of a plan.
pub enum Part<'a> {
    Plan(&'a mut LogicalPlanNode),
    Expression(&'a mut LogicalExprNode),
}

/// Calls for each part, the outer before the inner.
pub fn each_part(part: Part<'_>, call: &mut dyn FnMut(&mut Part<'_>)) {
    let mut part = part;
    call(&mut part);
    match part {
        Part::Plan(plan) => {
            for inner in parts_of_plan(plan) {
                each_part(inner, call);
            }
        }
        Part::Expression(expression) => {
            for inner in parts_of(expression) {
                each_part(Part::Expression(inner), call);
            }
        }
    }
}

/// The parts that a plan is directly made of, of the kinds that can be asked.
fn parts_of_plan(plan: &mut LogicalPlanNode) -> Vec<Part<'_>> {
    let Some(kind) = &mut plan.logical_plan_type else {
        return vec![];
    };
    match kind {
        LogicalPlanType::Projection(node) => {
            let expressions = node.expr.iter_mut().map(Part::Expression);
            node.input
                .as_deref_mut()
                .map(Part::Plan)
                .into_iter()
                .chain(expressions)
                .collect()
        }
        LogicalPlanType::Selection(node) => {
            let expression = node.expr.as_deref_mut().map(Part::Expression);
            let input = node.input.as_deref_mut().map(Part::Plan);
            input.into_iter().chain(expression).collect()
        }
        LogicalPlanType::Aggregate(node) => {
            let keys = node.group_expr.iter_mut().map(Part::Expression);
            let aggregates = node.aggr_expr.iter_mut().map(Part::Expression);
            let input = node.input.as_deref_mut().map(Part::Plan);
            input.into_iter().chain(keys).chain(aggregates).collect()
        }
        LogicalPlanType::Join(node) => {
            let sides = [&mut node.left, &mut node.right];
            let sides = sides.into_iter().filter_map(|side| side.as_deref_mut());
            let keys = node
                .left_join_key
                .iter_mut()
                .chain(&mut node.right_join_key);
            let filter = node.filter.as_deref_mut();
            sides
                .map(Part::Plan)
                .chain(keys.chain(filter).map(Part::Expression))
                .collect()
        }
        LogicalPlanType::SubqueryAlias(node) => node
            .input
            .as_deref_mut()
            .map(Part::Plan)
            .into_iter()
            .collect(),
        LogicalPlanType::Distinct(node) => node
            .input
            .as_deref_mut()
            .map(Part::Plan)
            .into_iter()
            .collect(),
        LogicalPlanType::Union(node) => node.inputs.iter_mut().map(Part::Plan).collect(),
        LogicalPlanType::Window(node) => {
            let expressions = node.window_expr.iter_mut().map(Part::Expression);
            let input = node.input.as_deref_mut().map(Part::Plan);
            input.into_iter().chain(expressions).collect()
        }
        LogicalPlanType::Sort(node) => {
            let expressions = node.expr.iter_mut().filter_map(|sort| sort.expr.as_mut());
            let input = node.input.as_deref_mut().map(Part::Plan);
            input
                .into_iter()
                .chain(expressions.map(Part::Expression))
                .collect()
        }
        _ => vec![],
    }
}

fn parts_of(expression: &mut LogicalExprNode) -> Vec<&mut LogicalExprNode> {
    let Some(kind) = &mut expression.expr_type else {
        return vec![];
    };
    let mut found: Vec<&mut LogicalExprNode> = vec![];
    match kind {
        ExprType::Alias(node) => found.extend(node.expr.as_deref_mut()),
        ExprType::BinaryExpr(node) => found.extend(&mut node.operands),
        ExprType::IsNullExpr(node) => found.extend(node.expr.as_deref_mut()),
        ExprType::IsNotNullExpr(node) => found.extend(node.expr.as_deref_mut()),
        ExprType::NotExpr(node) => found.extend(node.expr.as_deref_mut()),
        ExprType::IsTrue(node) => found.extend(node.expr.as_deref_mut()),
        ExprType::IsFalse(node) => found.extend(node.expr.as_deref_mut()),
        ExprType::IsUnknown(node) => found.extend(node.expr.as_deref_mut()),
        ExprType::IsNotTrue(node) => found.extend(node.expr.as_deref_mut()),
        ExprType::IsNotFalse(node) => found.extend(node.expr.as_deref_mut()),
        ExprType::IsNotUnknown(node) => found.extend(node.expr.as_deref_mut()),
        ExprType::Negative(node) => found.extend(node.expr.as_deref_mut()),
        ExprType::Cast(node) => found.extend(node.expr.as_deref_mut()),
        ExprType::TryCast(node) => found.extend(node.expr.as_deref_mut()),
        ExprType::Between(node) => {
            found.extend(node.expr.as_deref_mut());
            found.extend(node.low.as_deref_mut());
            found.extend(node.high.as_deref_mut());
        }
        ExprType::Case(node) => {
            found.extend(node.expr.as_deref_mut());
            for branch in &mut node.when_then_expr {
                found.extend(branch.when_expr.as_mut());
                found.extend(branch.then_expr.as_mut());
            }
            found.extend(node.else_expr.as_deref_mut());
        }
        ExprType::InList(node) => {
            found.extend(node.expr.as_deref_mut());
            found.extend(&mut node.list);
        }
        ExprType::Like(node) => {
            found.extend(node.expr.as_deref_mut());
            found.extend(node.pattern.as_deref_mut());
        }
        ExprType::Ilike(node) => {
            found.extend(node.expr.as_deref_mut());
            found.extend(node.pattern.as_deref_mut());
        }
        ExprType::AggregateUdfExpr(node) => {
            found.extend(&mut node.args);
            found.extend(node.filter.as_deref_mut());
            found.extend(
                node.order_by
                    .iter_mut()
                    .filter_map(|sort| sort.expr.as_mut()),
            );
        }
        ExprType::ScalarUdfExpr(node) => found.extend(&mut node.args),
        ExprType::WindowExpr(node) => {
            found.extend(&mut node.exprs);
            found.extend(&mut node.partition_by);
            found.extend(
                node.order_by
                    .iter_mut()
                    .filter_map(|sort| sort.expr.as_mut()),
            );
            found.extend(node.filter.as_deref_mut());
        }
        _ => {}
    }
    found
}

/// The lists of expressions that a part holds.
fn lists<'a>(part: &'a mut Part<'_>) -> Vec<&'a mut Vec<LogicalExprNode>> {
    match part {
        Part::Plan(plan) => match &mut plan.logical_plan_type {
            Some(LogicalPlanType::Projection(node)) => vec![&mut node.expr],
            Some(LogicalPlanType::Aggregate(node)) => {
                vec![&mut node.group_expr, &mut node.aggr_expr]
            }
            Some(LogicalPlanType::Join(node)) => {
                vec![&mut node.left_join_key, &mut node.right_join_key]
            }
            Some(LogicalPlanType::Window(node)) => vec![&mut node.window_expr],
            _ => vec![],
        },
        Part::Expression(expression) => match &mut expression.expr_type {
            Some(ExprType::BinaryExpr(node)) => vec![&mut node.operands],
            Some(ExprType::InList(node)) => vec![&mut node.list],
            Some(ExprType::AggregateUdfExpr(node)) => vec![&mut node.args],
            Some(ExprType::ScalarUdfExpr(node)) => vec![&mut node.args],
            Some(ExprType::WindowExpr(node)) => vec![&mut node.exprs, &mut node.partition_by],
            _ => vec![],
        },
    }
}

/// Parts of a plan, copied.
pub fn parts(plan: &LogicalPlanNode) -> (Vec<LogicalPlanNode>, Vec<LogicalExprNode>) {
    let (mut plans, mut expressions) = (vec![], vec![]);
    each_part(Part::Plan(&mut plan.clone()), &mut |part| match part {
        Part::Plan(plan) => plans.push(plan.clone()),
        Part::Expression(expression) => expressions.push(expression.clone()),
    });
    (plans, expressions)
}

/// A plan of the corpus after a few changes, as bytes.
pub fn mutated(corpus: &Corpus, rng: &mut impl Rng) -> Vec<u8> {
    let mut plan = corpus.plans.choose(rng).unwrap().message.clone();
    for _ in 0..rng.random_range(1..4) {
        change(&mut plan, corpus, rng);
    }
    let bytes = plan.encode_to_vec();
    if rng.random_ratio(1, 5) {
        // Types, numbers and names that have no place of their own above.
        let mut parsed = fields::of_plan(&bytes);
        let other = corpus.plans.choose(rng).unwrap();
        fields::mutate(&mut parsed, &other.fields, &corpus.words, rng);
        return fields::write(&parsed);
    }
    bytes
}

fn change(plan: &mut LogicalPlanNode, corpus: &Corpus, rng: &mut impl Rng) {
    let (plans, expressions) = parts(plan);
    if rng.random_ratio(1, 5) {
        let chosen = rng.random_range(0..plans.len());
        let own = plans.choose(rng).unwrap();
        let new = plan_for(&plans[chosen], own, &expressions, corpus, rng);
        replace_plan(plan, chosen, &new);
    } else if rng.random_ratio(1, 4) {
        change_list(plan, &expressions, corpus, rng);
    } else if !expressions.is_empty() {
        let chosen = rng.random_range(0..expressions.len());
        let new = expression_for(&expressions[chosen], &expressions, corpus, rng);
        replace_expression(plan, chosen, &new);
    }
}

fn replace_plan(plan: &mut LogicalPlanNode, chosen: usize, new: &LogicalPlanNode) {
    let mut seen = 0;
    each_part(Part::Plan(plan), &mut |part| {
        if let Part::Plan(place) = part {
            if seen == chosen {
                place.clone_from(new);
            }
            seen += 1;
        }
    });
}

fn replace_expression(plan: &mut LogicalPlanNode, chosen: usize, new: &LogicalExprNode) {
    let mut seen = 0;
    each_part(Part::Plan(plan), &mut |part| {
        if let Part::Expression(place) = part {
            if seen == chosen {
                place.clone_from(new);
            }
            seen += 1;
        }
    });
}

/// One list of expressions made longer, shorter, or put in another order.
fn change_list(
    plan: &mut LogicalPlanNode,
    own: &[LogicalExprNode],
    corpus: &Corpus,
    rng: &mut impl Rng,
) {
    let mut all = 0;
    each_part(Part::Plan(plan), &mut |part| all += lists(part).len());
    if all == 0 {
        return;
    }
    let chosen = rng.random_range(0..all);
    let what = rng.random_range(0..5);
    let more = any_expression(own, corpus, rng);
    let long = rng.random_range(2..300);
    let place: usize = rng.random_range(0..1_000);
    let mut seen = 0;
    each_part(Part::Plan(plan), &mut |part| {
        for list in lists(part) {
            if seen == chosen {
                let at = place % (list.len() + 1);
                match what {
                    0 if at < list.len() => drop(list.remove(at)),
                    1 if at < list.len() => {
                        let copy = list[at].clone();
                        list.push(copy);
                    }
                    2 if at < list.len() => list.rotate_left(at),
                    // Seldom: it's a few thousand parts.
                    3 if place.is_multiple_of(16) && at < list.len() => {
                        let copy = list[at].clone();
                        list.extend(std::iter::repeat_n(copy, long));
                    }
                    _ => list.insert(at, more.clone()),
                }
            }
            seen += 1;
        }
    });
}

/// One of the plan's own or of another's.
fn any_expression(own: &[LogicalExprNode], corpus: &Corpus, rng: &mut impl Rng) -> LogicalExprNode {
    let pool = if rng.random() && !own.is_empty() {
        own
    } else {
        &corpus.expressions
    };
    pool.choose(rng).cloned().unwrap_or_default()
}

fn boxed(expression: LogicalExprNode) -> Option<Box<LogicalExprNode>> {
    Some(Box::new(expression))
}

fn of(kind: ExprType) -> LogicalExprNode {
    LogicalExprNode {
        expr_type: Some(kind),
    }
}

/// What takes the place of an expression.
fn expression_for(
    old: &LogicalExprNode,
    own: &[LogicalExprNode],
    corpus: &Corpus,
    rng: &mut impl Rng,
) -> LogicalExprNode {
    let any = |rng: &mut _| any_expression(own, corpus, rng);
    // Mostly one of the same kind, which is more often understood.
    let same_kind = |rng: &mut _| {
        let alike = |other: &&LogicalExprNode| {
            other.expr_type.as_ref().map(std::mem::discriminant)
                == old.expr_type.as_ref().map(std::mem::discriminant)
        };
        let mine: Vec<_> = own.iter().filter(alike).collect();
        let theirs: Vec<_> = corpus.expressions.iter().filter(alike).collect();
        let pool = if Rng::random_ratio(rng, 2, 3) && !mine.is_empty() {
            mine
        } else {
            theirs
        };
        pool.choose(rng)
            .map_or_else(|| old.clone(), |found| (*found).clone())
    };
    match rng.random_range(0..20) {
        0..4 => same_kind(rng),
        4 | 5 => any(rng),
        6 => of(ExprType::NotExpr(Box::new(Not {
            expr: boxed(old.clone()),
        }))),
        7 => of(ExprType::IsNullExpr(Box::new(IsNull {
            expr: boxed(old.clone()),
        }))),
        8 => of(ExprType::BinaryExpr(BinaryExprNode {
            operands: vec![old.clone(), any(rng)],
            op: (*OPERATORS.choose(rng).unwrap()).to_owned(),
        })),
        9 => {
            let arrow_type = corpus.types.choose(rng).cloned();
            let nullable = None;
            let expr = boxed(old.clone());
            of(ExprType::Cast(Box::new(CastNode {
                expr,
                arrow_type,
                nullable,
                ..Default::default()
            })))
        }
        10 => of(ExprType::Case(Box::new(CaseNode {
            expr: None,
            when_then_expr: vec![WhenThen {
                when_expr: Some(any(rng)),
                then_expr: Some(old.clone()),
            }],
            else_expr: boxed(any(rng)),
        }))),
        11 => of(ExprType::Between(Box::new(BetweenNode {
            expr: boxed(old.clone()),
            negated: rng.random(),
            low: boxed(any(rng)),
            high: boxed(any(rng)),
        }))),
        12 => of(ExprType::ScalarUdfExpr(ScalarUdfExprNode {
            fun_name: (*FUNCTIONS.choose(rng).unwrap()).to_owned(),
            args: vec![old.clone(), any(rng)],
            fun_definition: None,
        })),
        13 => of(ExprType::Alias(Box::new(AliasNode {
            expr: boxed(old.clone()),
            alias: "again".to_owned(),
            ..Default::default()
        }))),
        _ => {
            let mut new = old.clone();
            rename(&mut new, corpus, rng);
            new
        }
    }
}

/// Changes what an expression says of itself: names, literals, flags.
fn rename(expression: &mut LogicalExprNode, corpus: &Corpus, rng: &mut impl Rng) {
    match &mut expression.expr_type {
        Some(ExprType::Literal(literal)) => match &mut literal.value {
            Some(Scalar::Int64Value(number)) => {
                let numbers = [0, 1, -1, 2, 100, i64::MAX, i64::MIN, 1 << 53];
                *number = *numbers.choose(rng).unwrap();
            }
            Some(Scalar::Float64Value(number)) => {
                let numbers = [0.0, -0.0, 1.0, f64::NAN, f64::INFINITY, 1e300, 1e-300, -1.0];
                *number = *numbers.choose(rng).unwrap();
            }
            Some(Scalar::BoolValue(truth)) => *truth = !*truth,
            Some(Scalar::Date32Value(day)) => {
                *day = *[0, -1, i32::MAX, i32::MIN, 19_000].choose(rng).unwrap();
            }
            Some(Scalar::Utf8Value(text)) => {
                (*TEXTS.choose(rng).unwrap()).clone_into(text);
            }
            Some(Scalar::IntervalMonthDayNano(interval)) => {
                interval.months = *[0, 1, -1, i32::MAX, i32::MIN].choose(rng).unwrap();
                interval.days = *[0, 1, -1, i32::MAX, i32::MIN].choose(rng).unwrap();
            }
            _ => {
                if let Some(other) = corpus.literals.choose(rng) {
                    literal.clone_from(other);
                }
            }
        },
        Some(ExprType::Column(column)) => {
            if let Some(name) = corpus.words.choose(rng) {
                column.name = String::from_utf8_lossy(name).into_owned();
            }
        }
        Some(ExprType::BinaryExpr(node)) => {
            (*OPERATORS.choose(rng).unwrap()).clone_into(&mut node.op);
            node.operands.shuffle(rng);
        }
        Some(ExprType::ScalarUdfExpr(node)) => {
            (*FUNCTIONS.choose(rng).unwrap()).clone_into(&mut node.fun_name);
        }
        Some(ExprType::AggregateUdfExpr(node)) => match rng.random_range(0..3) {
            0 => node.distinct = !node.distinct,
            1 => node.filter = boxed(corpus.expressions.choose(rng).cloned().unwrap()),
            _ => (*FUNCTIONS.choose(rng).unwrap()).clone_into(&mut node.fun_name),
        },
        Some(ExprType::InList(node)) => {
            node.negated = !node.negated;
            node.list.shuffle(rng);
        }
        Some(ExprType::Like(node)) => {
            node.negated = !node.negated;
            (*TEXTS.choose(rng).unwrap()).clone_into(&mut node.escape_char);
        }
        Some(ExprType::Between(node)) => node.negated = !node.negated,
        Some(ExprType::Cast(node)) => node.arrow_type = corpus.types.choose(rng).cloned(),
        Some(ExprType::TryCast(node)) => node.arrow_type = corpus.types.choose(rng).cloned(),
        Some(ExprType::Alias(node)) => {
            if let Some(name) = corpus.words.choose(rng) {
                node.alias = String::from_utf8_lossy(name).into_owned();
            }
        }
        Some(ExprType::Case(node)) => {
            if let Some(branch) = node.when_then_expr.choose_mut(rng) {
                std::mem::swap(&mut branch.when_expr, &mut branch.then_expr);
            }
        }
        _ => {}
    }
}

/// What takes the place of a plan.
fn plan_for(
    old: &LogicalPlanNode,
    own: &LogicalPlanNode,
    expressions: &[LogicalExprNode],
    corpus: &Corpus,
    rng: &mut impl Rng,
) -> LogicalPlanNode {
    let kind = match rng.random_range(0..8) {
        0 => return own.clone(),
        1 => return corpus.subplans.choose(rng).cloned().unwrap_or_default(),
        2 => LogicalPlanType::Selection(Box::new(SelectionNode {
            input: Some(Box::new(old.clone())),
            expr: boxed(any_expression(expressions, corpus, rng)),
        })),
        3 => LogicalPlanType::Union(UnionNode {
            inputs: vec![old.clone(); rng.random_range(2..6)],
        }),
        4 => LogicalPlanType::SubqueryAlias(Box::new(SubqueryAliasNode {
            input: Some(Box::new(old.clone())),
            alias: None,
        })),
        5 => LogicalPlanType::Distinct(Box::new(protobuf::DistinctNode {
            input: Some(Box::new(old.clone())),
        })),
        // One of the plan's own inputs in the plan's place.
        6 => {
            let mut copy = old.clone();
            let inputs = parts_of_plan(&mut copy).into_iter();
            let mut inputs = inputs.filter_map(|part| match part {
                Part::Plan(plan) => Some(plan.clone()),
                Part::Expression(_) => None,
            });
            return inputs.next().unwrap_or_else(|| old.clone());
        }
        // Another node of the same kind over the plan's own inputs: a join of another kind.
        _ => {
            let mut copy = old.clone();
            if let Some(LogicalPlanType::Join(node)) = &mut copy.logical_plan_type {
                node.join_type = rng.random_range(0..10);
                node.null_equality = rng.random_range(0..2);
                if rng.random() {
                    std::mem::swap(&mut node.left, &mut node.right);
                }
            }
            return copy;
        }
    };
    LogicalPlanNode {
        logical_plan_type: Some(kind),
    }
}

/// What kind of part it is, and which function or operator.
pub fn kind(part: &Part<'_>) -> String {
    let variant = |debug: String| {
        let end = debug.find('(').unwrap_or(debug.len());
        debug[..end].to_owned()
    };
    match part {
        Part::Plan(plan) => match &plan.logical_plan_type {
            Some(LogicalPlanType::Join(node)) => format!("Join {}", node.join_type),
            Some(kind) => variant(format!("{kind:?}")),
            None => String::new(),
        },
        Part::Expression(expression) => match &expression.expr_type {
            Some(ExprType::Column(_)) | None => "Column".to_owned(),
            Some(ExprType::Literal(literal)) => {
                let value = literal.value.as_ref().map(|value| format!("{value:?}"));
                format!("Literal {}", variant(value.unwrap_or_default()))
            }
            Some(ExprType::BinaryExpr(node)) => node.op.clone(),
            Some(ExprType::ScalarUdfExpr(node)) => node.fun_name.clone(),
            Some(ExprType::AggregateUdfExpr(node)) => node.fun_name.clone(),
            Some(kind) => variant(format!("{kind:?}")),
        },
    }
}

/// The kinds of what a part is directly made of.
pub fn inner_kinds(part: &mut Part<'_>) -> Vec<String> {
    match part {
        Part::Plan(plan) => parts_of_plan(plan).iter().map(kind).collect(),
        Part::Expression(expression) => parts_of(expression)
            .into_iter()
            .map(|inner| kind(&Part::Expression(inner)))
            .collect(),
    }
}
