//! Bytes that are no honest plan: each is refused, nothing is charged, and the node lives on.

use datafusion_proto::protobuf::{
    BinaryExprNode, CopyToNode, CustomTableScanNode, ListingTableScanNode, LogicalExprNode,
    LogicalExtensionNode, LogicalPlanNode, ScalarUdfExprNode, SelectionNode, SubqueryAliasNode,
    ValuesNode, logical_expr_node::ExprType, logical_plan_node::LogicalPlanType,
};
use prost::Message as _;
use skerry_proto::{Refusal, wire};
use tempfile::TempDir;

use crate::{
    sites::{randhie, start, write_federation},
    twins::federation_without_person,
    wire::{as_coordinator, count_plan, question, release},
};

fn node(kind: LogicalPlanType) -> LogicalPlanNode {
    LogicalPlanNode {
        logical_plan_type: Some(kind),
    }
}

/// The corpus: name and bytes.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let scan = || {
        node(LogicalPlanType::CustomScan(CustomTableScanNode {
            custom_table_data: b"visits".to_vec(),
            ..Default::default()
        }))
    };
    let mut deep = scan();
    for _ in 0..1_000 {
        deep = node(LogicalPlanType::SubqueryAlias(Box::new(
            SubqueryAliasNode {
                input: Some(Box::new(deep)),
                alias: None,
            },
        )));
    }
    let one = LogicalExprNode {
        expr_type: Some(ExprType::Literal(Default::default())),
    };
    let chain = LogicalExprNode {
        expr_type: Some(ExprType::BinaryExpr(BinaryExprNode {
            operands: vec![one.clone(); 20_000],
            op: "Plus".into(),
        })),
    };
    let chained = node(LogicalPlanType::Selection(Box::new(SelectionNode {
        input: Some(Box::new(scan())),
        expr: Some(Box::new(chain)),
    })));
    let unknown = node(LogicalPlanType::Selection(Box::new(SelectionNode {
        input: Some(Box::new(scan())),
        expr: Some(Box::new(LogicalExprNode {
            expr_type: Some(ExprType::ScalarUdfExpr(ScalarUdfExprNode {
                fun_name: "read_any_file".into(),
                ..Default::default()
            })),
        })),
    })));
    let any = LogicalExprNode {
        expr_type: Some(ExprType::BinaryExpr(BinaryExprNode {
            operands: vec![one.clone(); 1_000],
            op: "Or".into(),
        })),
    };
    let any = node(LogicalPlanType::Selection(Box::new(SelectionNode {
        input: Some(Box::new(scan())),
        expr: Some(Box::new(any)),
    })));
    vec![
        (
            "a scan of a local file",
            node(LogicalPlanType::ListingScan(ListingTableScanNode {
                paths: vec!["/etc/passwd".into()],
                ..Default::default()
            }))
            .encode_to_vec(),
        ),
        (
            "COPY TO",
            node(LogicalPlanType::CopyTo(Box::new(CopyToNode {
                input: Some(Box::new(scan())),
                output_url: "/tmp/skerry-must-not-write".into(),
                ..Default::default()
            })))
            .encode_to_vec(),
        ),
        (
            "an extension node",
            node(LogicalPlanType::Extension(LogicalExtensionNode {
                node: vec![0; 16],
                inputs: vec![scan()],
            }))
            .encode_to_vec(),
        ),
        (
            "Values without columns",
            node(LogicalPlanType::Values(ValuesNode {
                n_cols: 0,
                values_list: vec![],
            }))
            .encode_to_vec(),
        ),
        ("a thousand nested messages", deep.encode_to_vec()),
        ("20,000 chained operators", chained.encode_to_vec()),
        ("no aggregate", scan().encode_to_vec()),
        ("an unknown function", unknown.encode_to_vec()),
        ("a thousand conditions", any.encode_to_vec()),
        ("nothing", vec![]),
        (
            "noise",
            (0..10_000u32)
                .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
                .collect(),
        ),
        ("300 kB", vec![0; 300_000]),
        ("100 MB", vec![0; 100_000_000]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn are_refused_and_the_node_lives_on() {
    let sites = randhie("10.0").await;
    let (region, address) = sites.federation.regions().remove(0);
    let mut client = as_coordinator(&sites.folder(), address, region.as_str()).await;
    for (name, plan) in hostile() {
        let asked = question("hostile", plan);
        assert!(client.get_quote(asked.clone()).await.is_err(), "{name}");
        assert!(
            client.release(release("hostile", asked)).await.is_err(),
            "{name}"
        );
    }
    for epsilon_nano in [0, 1, u64::MAX] {
        let asked = wire::Question {
            epsilon_nano,
            ..question("hostile", count_plan(0).await)
        };
        assert!(client.get_quote(asked).await.is_err(), "{epsilon_nano}");
    }
    let newer = wire::Question {
        contract_version: 99,
        ..question("hostile", count_plan(0).await)
    };
    assert!(client.get_quote(newer).await.is_err());
    let budget = client
        .get_budget(wire::BudgetRequest {
            project: "hostile".into(),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(budget.project.unwrap().epsilon_spent_nano, 0);
    client
        .release(release("honest", question("hostile", count_plan(0).await)))
        .await
        .unwrap();
}

/// The same bytes to a node with a person and to one without: the same code and the same text.
#[tokio::test(flavor = "multi_thread")]
async fn are_refused_alike_whoever_is_in_the_data() {
    let whole = TempDir::new().unwrap();
    write_federation(whole.path(), "10.0");
    let twins = [
        start(whole).await,
        start(federation_without_person().await).await,
    ];
    let mut told = vec![];
    for twin in &twins {
        let (region, address) = twin.federation.regions().remove(0);
        let mut client = as_coordinator(&twin.folder(), address, region.as_str()).await;
        let mut refusals = vec![];
        for (name, plan) in hostile() {
            let asked = release("hostile", question("hostile", plan));
            let status = client.release(asked).await.unwrap_err();
            refusals.push((name, Refusal::from(&status)));
        }
        told.push(refusals);
    }
    assert_eq!(told[0], told[1]);
}
