//! Trusted. Admits plan bytes before DataFusion's decoder sees them.
//!
//! Promise: what passes is a message of bounded size, depth and width, made of relational nodes
//! and scalar expressions alone. Its tables are names; nothing in it reaches a file, an extension,
//! a serialised function or a nested statement.
//!
//! The decoder itself can't be trusted with more: it opens files that a plan names and panics on
//! some messages (`Values` with no columns is five bytes).

use datafusion_proto::{
    generated::datafusion_common::{ScalarValue, scalar_value::Value as Scalar},
    protobuf::{
        self, LogicalExprNode, LogicalPlanNode, logical_expr_node::ExprType,
        logical_plan_node::LogicalPlanType,
    },
};
use prost::Message as _;
use skerry_proto::{ErrorCode, Refusal, limit};

/// A plan message that passed the gate.
#[derive(Debug)]
pub struct AdmittedPlan(LogicalPlanNode);

impl AdmittedPlan {
    /// The message, for the decoder.
    #[must_use]
    pub fn message(&self) -> &LogicalPlanNode {
        &self.0
    }
}

/// Admits the bytes of one plan.
///
/// # Errors
/// A refusal that names what can't be in a plan.
pub fn admit(bytes: &[u8]) -> Result<AdmittedPlan, Refusal> {
    if bytes.len() > limit::PLAN_BYTES {
        return Err(too_large("the plan", limit::PLAN_BYTES, "bytes"));
    }
    // `prost` stops at 100 nested messages; memory is bounded by the bytes.
    let plan = LogicalPlanNode::decode(bytes)
        .map_err(|_| refused("the bytes are no plan, or one that is nested too deep"))?;
    let mut budget = Budget {
        left: limit::PLAN_FIELDS,
        depth: 0,
    };
    budget.plan(&plan)?;
    Ok(AdmittedPlan(plan))
}

fn refused(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::PlanRefused, message, "")
}

fn too_large(what: &str, most: usize, of_what: &str) -> Refusal {
    Refusal::new(
        ErrorCode::TooLarge,
        format!("{what} has more than {most} {of_what}"),
        "ask a shorter question, or a range instead of a list",
    )
}

/// Nodes that a plan may still have, and how deep it is at the node in hand.
struct Budget {
    left: usize,
    depth: usize,
}

/// Literals of the plain types. Others carry serialised arrays, whose decoder takes the memory
/// that they ask for.
fn literal(scalar: &ScalarValue) -> Result<(), Refusal> {
    let plain = match &scalar.value {
        Some(
            Scalar::NullValue(_)
            | Scalar::BoolValue(_)
            | Scalar::Utf8Value(_)
            | Scalar::LargeUtf8Value(_)
            | Scalar::Utf8ViewValue(_)
            | Scalar::Int8Value(_)
            | Scalar::Int16Value(_)
            | Scalar::Int32Value(_)
            | Scalar::Int64Value(_)
            | Scalar::Uint8Value(_)
            | Scalar::Uint16Value(_)
            | Scalar::Uint32Value(_)
            | Scalar::Uint64Value(_)
            | Scalar::Float32Value(_)
            | Scalar::Float64Value(_)
            | Scalar::Date32Value(_)
            | Scalar::TimestampValue(_)
            | Scalar::IntervalYearmonthValue(_)
            | Scalar::IntervalDaytimeValue(_)
            | Scalar::IntervalMonthDayNano(_),
        ) => true,
        Some(Scalar::Decimal128Value(decimal)) => {
            is_decimal(&decimal.value, decimal.p, decimal.s, 38)
        }
        Some(Scalar::Decimal256Value(decimal)) => {
            is_decimal(&decimal.value, decimal.p, decimal.s, 76)
        }
        // What the decoder's next version may add is no plain type either.
        Some(_) | None => false,
    };
    if plain {
        Ok(())
    } else {
        Err(Refusal::new(
            ErrorCode::Unsupported,
            "a literal isn't a truth value, number, text, date, timestamp or interval",
            "",
        ))
    }
}

/// The decoder takes the bytes for a whole number, and cuts the numbers of digits to a byte each.
fn is_decimal(value: &[u8], precision: i64, scale: i64, most: i64) -> bool {
    let bytes = if most > 38 { 32 } else { 16 };
    value.len() == bytes && (1..=most).contains(&precision) && (0..=precision).contains(&scale)
}

/// The ends of a window's frame are literals.
fn frame(frame: Option<&protobuf::WindowFrame>) -> Result<(), Refusal> {
    let Some(frame) = frame else {
        return Err(refused("a window has no frame"));
    };
    let end = frame
        .end_bound
        .as_ref()
        .map(|protobuf::window_frame::EndBound::Bound(end)| end);
    let bounds = frame.start_bound.iter().chain(end);
    bounds
        .filter_map(|bound| bound.bound_value.as_ref())
        .try_for_each(literal)
}

type Boxed<T> = Option<Box<T>>;

impl Budget {
    fn take(&mut self) -> Result<(), Refusal> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| too_large("the plan", limit::PLAN_FIELDS, "parts"))?;
        Ok(())
    }

    fn input(&mut self, plan: &Boxed<LogicalPlanNode>) -> Result<(), Refusal> {
        match plan {
            Some(plan) => self.plan(plan),
            None => Err(refused("a plan node has no input")),
        }
    }

    fn plan(&mut self, plan: &LogicalPlanNode) -> Result<(), Refusal> {
        self.take()?;
        let Some(kind) = &plan.logical_plan_type else {
            return Err(refused("a plan node is empty"));
        };
        let not_here = match kind {
            LogicalPlanType::CustomScan(scan) => return self.scan(scan),
            LogicalPlanType::Projection(node) => {
                self.input(&node.input)?;
                return self.expressions(&node.expr);
            }
            LogicalPlanType::Selection(node) => {
                self.input(&node.input)?;
                return self.needed(&node.expr.as_ref());
            }
            LogicalPlanType::Aggregate(node) => {
                self.input(&node.input)?;
                self.expressions(&node.group_expr)?;
                return self.expressions(&node.aggr_expr);
            }
            LogicalPlanType::Join(node) => {
                self.input(&node.left)?;
                self.input(&node.right)?;
                if node.left_join_key.len() != node.right_join_key.len() {
                    return Err(refused("a join has another number of keys on each side"));
                }
                self.expressions(&node.left_join_key)?;
                self.expressions(&node.right_join_key)?;
                return self.optional(&node.filter.as_ref());
            }
            LogicalPlanType::Window(node) => {
                self.input(&node.input)?;
                return self.expressions(&node.window_expr);
            }
            // Without a limit it changes nothing.
            LogicalPlanType::Sort(node) if node.fetch < 0 => {
                self.input(&node.input)?;
                return self.sorted(&node.expr);
            }
            LogicalPlanType::SubqueryAlias(node) => return self.input(&node.input),
            LogicalPlanType::Union(node) => {
                if node.inputs.len() < 2 || node.inputs.len() > limit::CHAIN_LENGTH {
                    return Err(refused("a union has no or too many branches"));
                }
                return node.inputs.iter().try_for_each(|input| self.plan(input));
            }
            LogicalPlanType::ListingScan(_) => "a scan of files",
            LogicalPlanType::Limit(_) | LogicalPlanType::Sort(_) => "LIMIT",
            LogicalPlanType::Repartition(_) => "a repartition",
            LogicalPlanType::EmptyRelation(_) => "a relation without a table",
            LogicalPlanType::CreateExternalTable(_) => "CREATE EXTERNAL TABLE",
            LogicalPlanType::Explain(_) | LogicalPlanType::Analyze(_) => "EXPLAIN",
            LogicalPlanType::CrossJoin(_) => "a cross join",
            LogicalPlanType::Values(_) => "VALUES",
            LogicalPlanType::Extension(_) => "an extension node",
            LogicalPlanType::CreateCatalogSchema(_)
            | LogicalPlanType::CreateCatalog(_)
            | LogicalPlanType::CreateView(_)
            | LogicalPlanType::DropView(_) => "a change of the catalogue",
            LogicalPlanType::Distinct(_) | LogicalPlanType::DistinctOn(_) => "DISTINCT",
            LogicalPlanType::ViewScan(_) => "a view",
            LogicalPlanType::Prepare(_) => "PREPARE",
            LogicalPlanType::CopyTo(_) => "COPY",
            LogicalPlanType::Unnest(_) => "UNNEST",
            LogicalPlanType::RecursiveQuery(_) | LogicalPlanType::CteWorkTableScan(_) => {
                "a recursive query"
            }
            LogicalPlanType::Dml(_) => "a statement that changes data",
            LogicalPlanType::EmptyTableScan(_) => "a scan without a table",
        };
        Err(Refusal::new(
            ErrorCode::Unsupported,
            format!("{not_here} can't stand below an aggregate over private data"),
            "aggregate first; sort, limit and join the aggregated figures above it",
        ))
    }

    fn scan(&mut self, scan: &protobuf::CustomTableScanNode) -> Result<(), Refusal> {
        if !scan.filters.is_empty() {
            return Err(refused("a scan carries filters of its own"));
        }
        let name = std::str::from_utf8(&scan.custom_table_data);
        if !name.is_ok_and(|name| !name.is_empty() && name.len() <= 128) {
            return Err(refused("a scan doesn't say the name of its table"));
        }
        let columns = scan
            .schema
            .as_ref()
            .map_or(0, |schema| schema.columns.len());
        for _ in 0..columns {
            self.take()?;
        }
        Ok(())
    }

    fn expressions(&mut self, expressions: &[LogicalExprNode]) -> Result<(), Refusal> {
        if expressions.len() > limit::LIST_LENGTH {
            return Err(too_large("a list", limit::LIST_LENGTH, "members"));
        }
        expressions
            .iter()
            .try_for_each(|part| self.expression(part))
    }

    fn sorted(&mut self, keys: &[protobuf::SortExprNode]) -> Result<(), Refusal> {
        if keys.len() > limit::LIST_LENGTH {
            return Err(too_large("a list", limit::LIST_LENGTH, "members"));
        }
        keys.iter()
            .try_for_each(|key| self.needed(&key.expr.as_ref().map(Reference)))
    }

    fn needed(&mut self, part: &Option<impl AsRef<LogicalExprNode>>) -> Result<(), Refusal> {
        match part {
            Some(part) => self.expression(part.as_ref()),
            None => Err(refused("an expression lacks a part")),
        }
    }

    fn optional(&mut self, part: &Option<impl AsRef<LogicalExprNode>>) -> Result<(), Refusal> {
        match part {
            Some(part) => self.expression(part.as_ref()),
            None => Ok(()),
        }
    }

    /// A chain of operators is decoded to so many nested ones, less one.
    fn expression(&mut self, expression: &LogicalExprNode) -> Result<(), Refusal> {
        let deeper = match &expression.expr_type {
            Some(ExprType::BinaryExpr(node)) => node.operands.len().max(1),
            Some(_) | None => 1,
        };
        self.depth = self.depth.saturating_add(deeper);
        if self.depth > limit::PLAN_DEPTH {
            return Err(too_large(
                "the plan",
                limit::PLAN_DEPTH,
                "levels of nesting",
            ));
        }
        let found = self.parts_of(expression);
        self.depth -= deeper;
        found
    }

    fn parts_of(&mut self, expression: &LogicalExprNode) -> Result<(), Refusal> {
        self.take()?;
        let Some(kind) = &expression.expr_type else {
            return Err(refused("an expression is empty"));
        };
        let not_here = match kind {
            ExprType::Column(_) => return Ok(()),
            ExprType::Literal(scalar) => return literal(scalar),
            ExprType::Alias(node) => return self.needed(&node.expr.as_ref()),
            ExprType::BinaryExpr(node) => {
                if node.operands.len() < 2 {
                    return Err(refused("an operator lacks an operand"));
                }
                if node.operands.len() > limit::CHAIN_LENGTH {
                    return Err(too_large(
                        "a chain of operators",
                        limit::CHAIN_LENGTH,
                        "operands",
                    ));
                }
                return self.expressions(&node.operands);
            }
            ExprType::IsNullExpr(node) => return self.needed(&node.expr.as_ref()),
            ExprType::IsNotNullExpr(node) => return self.needed(&node.expr.as_ref()),
            ExprType::NotExpr(node) => return self.needed(&node.expr.as_ref()),
            ExprType::IsTrue(node) => return self.needed(&node.expr.as_ref()),
            ExprType::IsFalse(node) => return self.needed(&node.expr.as_ref()),
            ExprType::IsUnknown(node) => return self.needed(&node.expr.as_ref()),
            ExprType::IsNotTrue(node) => return self.needed(&node.expr.as_ref()),
            ExprType::IsNotFalse(node) => return self.needed(&node.expr.as_ref()),
            ExprType::IsNotUnknown(node) => return self.needed(&node.expr.as_ref()),
            ExprType::Negative(node) => return self.needed(&node.expr.as_ref()),
            ExprType::Cast(node) => return self.needed(&node.expr.as_ref()),
            ExprType::TryCast(node) => return self.needed(&node.expr.as_ref()),
            ExprType::Between(node) => {
                self.needed(&node.expr.as_ref())?;
                self.needed(&node.low.as_ref())?;
                return self.needed(&node.high.as_ref());
            }
            ExprType::Case(node) => {
                self.optional(&node.expr.as_ref())?;
                for branch in &node.when_then_expr {
                    self.optional(&branch.when_expr.as_ref().map(Reference))?;
                    self.optional(&branch.then_expr.as_ref().map(Reference))?;
                }
                return self.optional(&node.else_expr.as_ref());
            }
            ExprType::InList(node) => {
                self.needed(&node.expr.as_ref())?;
                return self.expressions(&node.list);
            }
            ExprType::Like(node) => {
                self.needed(&node.expr.as_ref())?;
                return self.needed(&node.pattern.as_ref());
            }
            ExprType::Ilike(node) => {
                self.needed(&node.expr.as_ref())?;
                return self.needed(&node.pattern.as_ref());
            }
            ExprType::AggregateUdfExpr(node) => {
                if node.fun_definition.is_some() {
                    return Err(refused("a function comes with its own definition"));
                }
                self.sorted(&node.order_by)?;
                self.optional(&node.filter.as_ref())?;
                return self.expressions(&node.args);
            }
            ExprType::WindowExpr(node) => {
                if node.fun_definition.is_some() {
                    return Err(refused("a function comes with its own definition"));
                }
                self.expressions(&node.exprs)?;
                self.expressions(&node.partition_by)?;
                self.sorted(&node.order_by)?;
                self.optional(&node.filter.as_ref())?;
                return frame(node.window_frame.as_ref());
            }
            ExprType::ScalarUdfExpr(node) => {
                if node.fun_definition.is_some() {
                    return Err(refused("a function comes with its own definition"));
                }
                return self.expressions(&node.args);
            }
            ExprType::Wildcard(_) => "*",
            ExprType::GroupingSet(_) | ExprType::Cube(_) | ExprType::Rollup(_) => {
                "GROUPING SETS, CUBE or ROLLUP"
            }
            ExprType::SimilarTo(_) => "SIMILAR TO",
            ExprType::Placeholder(_) => "a parameter without a value",
            ExprType::Unnest(_) => "UNNEST",
            ExprType::ScalarSubqueryExpr(_) => "a subquery as a value",
            ExprType::HigherOrderUdfExpr(_) | ExprType::Lambda(_) | ExprType::LambdaVariable(_) => {
                "a lambda"
            }
        };
        Err(Refusal::new(
            ErrorCode::Unsupported,
            format!("{not_here} can't stand below an aggregate over private data"),
            "",
        ))
    }
}

struct Reference<'a>(&'a LogicalExprNode);

impl AsRef<LogicalExprNode> for Reference<'_> {
    fn as_ref(&self) -> &LogicalExprNode {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(kind: LogicalPlanType) -> Vec<u8> {
        LogicalPlanNode {
            logical_plan_type: Some(kind),
        }
        .encode_to_vec()
    }

    #[test]
    fn refuses_what_reaches_outside() {
        let hostile = [
            node(LogicalPlanType::ListingScan(
                protobuf::ListingTableScanNode {
                    paths: vec!["/etc/passwd".into()],
                    ..Default::default()
                },
            )),
            node(LogicalPlanType::CopyTo(Box::new(protobuf::CopyToNode {
                output_url: "/tmp/out".into(),
                ..Default::default()
            }))),
            node(LogicalPlanType::Extension(protobuf::LogicalExtensionNode {
                node: vec![1, 2, 3],
                inputs: vec![],
            })),
            node(LogicalPlanType::Values(protobuf::ValuesNode {
                n_cols: 0,
                values_list: vec![],
            })),
            vec![],
            vec![0xff; 100],
            vec![0; limit::PLAN_BYTES + 1],
        ];
        for bytes in hostile {
            assert!(admit(&bytes).is_err());
        }
    }

    /// Sorting changes nothing, cutting off does: which rows are left hangs on all persons.
    #[test]
    fn refuses_what_keeps_the_first_rows() {
        let scan = || {
            Some(Box::new(LogicalPlanNode {
                logical_plan_type: Some(LogicalPlanType::CustomScan(
                    protobuf::CustomTableScanNode {
                        custom_table_data: b"patients".to_vec(),
                        ..Default::default()
                    },
                )),
            }))
        };
        let sort = |fetch| {
            node(LogicalPlanType::Sort(Box::new(protobuf::SortNode {
                input: scan(),
                expr: vec![],
                fetch,
            })))
        };
        assert!(admit(&sort(-1)).is_ok());
        let limit = |skip, fetch| {
            node(LogicalPlanType::Limit(Box::new(protobuf::LimitNode {
                input: scan(),
                skip,
                fetch,
            })))
        };
        for bytes in [
            sort(0),
            sort(5),
            sort(i64::MAX),
            limit(0, 5),
            limit(3, -1),
            limit(0, -1),
        ] {
            assert_eq!(admit(&bytes).unwrap_err().code, ErrorCode::Unsupported);
        }
        let filtered = node(LogicalPlanType::CustomScan(protobuf::CustomTableScanNode {
            custom_table_data: b"patients".to_vec(),
            filters: vec![LogicalExprNode::default()],
            ..Default::default()
        }));
        assert_eq!(admit(&filtered).unwrap_err().code, ErrorCode::PlanRefused);
    }

    #[test]
    fn refuses_depth_and_width() {
        let mut deep = LogicalPlanNode::default();
        for _ in 0..1_000 {
            deep = LogicalPlanNode {
                logical_plan_type: Some(LogicalPlanType::SubqueryAlias(Box::new(
                    protobuf::SubqueryAliasNode {
                        input: Some(Box::new(deep)),
                        alias: None,
                    },
                ))),
            };
        }
        assert!(admit(&deep.encode_to_vec()).is_err());
        let one = LogicalExprNode {
            expr_type: Some(ExprType::Literal(Default::default())),
        };
        let chain = LogicalExprNode {
            expr_type: Some(ExprType::BinaryExpr(protobuf::BinaryExprNode {
                operands: vec![one; 20_000],
                op: "Plus".into(),
            })),
        };
        let scan = LogicalPlanNode {
            logical_plan_type: Some(LogicalPlanType::CustomScan(protobuf::CustomTableScanNode {
                custom_table_data: b"patients".to_vec(),
                ..Default::default()
            })),
        };
        assert!(admit(&scan.encode_to_vec()).is_ok());
        let filter = LogicalPlanNode {
            logical_plan_type: Some(LogicalPlanType::Selection(Box::new(
                protobuf::SelectionNode {
                    input: Some(Box::new(scan)),
                    expr: Some(Box::new(chain)),
                },
            ))),
        };
        let refusal = admit(&filter.encode_to_vec()).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::TooLarge);
    }
}
