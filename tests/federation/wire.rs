//! A node as the network sees it: plans as bytes, certificates as files.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use datafusion::{
    arrow::datatypes::{DataType, Field, Schema},
    datasource::MemTable,
    logical_expr::LogicalPlan,
    prelude::SessionContext,
};
use datafusion_proto::{logical_plan::AsLogicalPlan as _, protobuf::LogicalPlanNode};
use prost::Message as _;
use skerry_proto::{CONTRACT_VERSION, wire};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::name_codec::NameCodec;

pub type NodeClient = wire::node_client::NodeClient<Channel>;

/// Connects to a node with the certificate and key of these files.
pub async fn connect(
    address: SocketAddr,
    region: &str,
    authority: &Path,
    identity: Option<(&Path, &Path)>,
) -> Result<NodeClient, tonic::transport::Error> {
    let read = |path: &Path| fs::read(path).unwrap();
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read(authority)))
        .domain_name(format!("{region}.node.skerry"));
    if let Some((certificate, key)) = identity {
        tls = tls.identity(Identity::from_pem(read(certificate), read(key)));
    }
    let channel = Endpoint::from_shared(format!("https://{address}"))
        .unwrap()
        .tls_config(tls)?
        .connect()
        .await?;
    Ok(NodeClient::new(channel))
}

/// Connects to a node as the coordinator of a federation.
pub async fn as_coordinator(folder: &Path, address: SocketAddr, region: &str) -> NodeClient {
    let file = |name: &str| folder.join(name);
    connect(
        address,
        region,
        &file("federation-ca.pem"),
        Some((&file("coordinator.pem"), &file("coordinator.key"))),
    )
    .await
    .unwrap()
}

/// The plan of `SELECT COUNT(*) … WHERE mdvis >= bound`, which differs by bound.
pub async fn count_plan(bound: i64) -> Vec<u8> {
    let schema = Schema::new(vec![
        Field::new("region", DataType::Utf8, false),
        Field::new("person_id", DataType::Int64, false),
        Field::new("mdvis", DataType::Int64, true),
    ]);
    let context = SessionContext::new();
    let empty = MemTable::try_new(Arc::new(schema), vec![vec![]]).unwrap();
    context.register_table("visits", Arc::new(empty)).unwrap();
    let sql = format!("SELECT COUNT(*) FROM visits WHERE mdvis >= {bound}");
    let plan = context.state().create_logical_plan(&sql).await.unwrap();
    // Below the projection that only names the figure.
    let LogicalPlan::Projection(projection) = plan else {
        panic!("a projection over the aggregate")
    };
    LogicalPlanNode::try_from_logical_plan(&projection.input, &NameCodec)
        .unwrap()
        .encode_to_vec()
}

/// A question at ε = 1 with this plan.
pub fn question(project: &str, plan: Vec<u8>) -> wire::Question {
    wire::Question {
        contract_version: CONTRACT_VERSION,
        project: project.into(),
        plan,
        epsilon_nano: 1_000_000_000,
        ..Default::default()
    }
}

/// A request for a new draw.
pub fn release(query_id: &str, question: wire::Question) -> wire::ReleaseRequest {
    wire::ReleaseRequest {
        question: Some(question),
        query_id: query_id.into(),
        fresh: true,
        deadline_ms: 60_000,
    }
}
