//! What rows are matched by, and marks of matches.

use super::*;

/// What holds besides the unit being the same, over both sides' columns.
pub(super) fn any_pairing() -> impl Strategy<Value = Option<Expression>> {
    prop_oneof![
        Just(None),
        Just(Some(compare(
            Comparison::Equal,
            Expression::Column(1),
            Expression::Column(4)
        ))),
        Just(Some(compare(
            Comparison::Less,
            Expression::Column(2),
            Expression::Column(5)
        ))),
        // Of floats, among them NaN and both zeros.
        Just(Some(compare(
            Comparison::Equal,
            Expression::Column(2),
            Expression::Column(5)
        ))),
    ]
}

/// Equal pairs of a private and a public column, and a condition besides: with a key that the
/// engine can sort by and without one.
pub(super) fn any_public_pairing()
-> impl Strategy<Value = (Vec<(Expression, Expression)>, Option<Expression>)> {
    let weight = |column: usize| Expression::Cast {
        value: Expression::Column(column).into(),
        to: DataType::Float,
    };
    let less = compare(Comparison::Less, Expression::Column(2), weight(4));
    let texts = vec![(Expression::Column(1), Expression::Column(0))];
    let floats = vec![(Expression::Column(2), weight(1))];
    prop_oneof![
        Just((texts.clone(), None)),
        Just((texts, Some(less.clone()))),
        Just((floats, None)),
        Just((vec![], Some(less))),
    ]
}

pub(super) fn any_matching() -> impl Strategy<Value = Matching> {
    prop_oneof![
        Just(Matching::With),
        Just(Matching::Without),
        Just(Matching::Marked),
    ]
}

/// A mark becomes the text.
pub(super) fn marked(relation: Relation) -> Relation {
    let mark = match &relation {
        Relation::Semi { matching, .. } | Relation::SemiPublic { matching, .. } => {
            *matching == Matching::Marked
        }
        _ => false,
    };
    if !mark {
        return relation;
    }
    let said = Expression::Case {
        branches: vec![(Expression::Column(3), text("marked"))],
        otherwise: Some(Expression::Column(1).into()),
    };
    Relation::Project {
        input: relation.into(),
        columns: vec![Expression::Column(0), said, Expression::Column(2)],
    }
}
