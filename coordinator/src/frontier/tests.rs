//! The cut, on the shapes that people write.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    arrow::{array::RecordBatch, datatypes::Schema},
    catalog::TableProvider,
    datasource::MemTable,
};
use skerry_proto::DataType::{Float, Integer, Text};

use crate::{
    catalogue::{
        Catalogue,
        tests::{catalogue, table},
    },
    federated_table,
    plan::{Planned, Planner},
};
use skerry_proto::{DataType, Refusal};

const SITES: &[(&str, DataType)] = &[("site", Integer), ("name", Text)];

/// Two regions with visits, patients and public sites; the coordinator has sites and areas.
pub(crate) fn planner() -> Planner {
    let tables = || {
        vec![
            table(
                "visits",
                "person_id",
                &[
                    ("person_id", Integer),
                    ("site", Integer),
                    ("cost", Float),
                    ("kind", Text),
                ],
            ),
            table(
                "patients",
                "person_id",
                &[("person_id", Integer), ("sex", Text), ("age", Integer)],
            ),
            table("sites", "", SITES),
            table("codes", "", &[("kind", Text)]),
        ]
    };
    let local = |columns: &[(&str, DataType)]| -> Arc<dyn TableProvider> {
        let columns: Vec<(String, DataType)> =
            columns.iter().map(|(n, t)| ((*n).to_owned(), *t)).collect();
        let schema: Arc<Schema> = federated_table::schema(&columns, None);
        let batch = RecordBatch::new_empty(Arc::clone(&schema));
        Arc::new(MemTable::try_new(schema, vec![vec![batch]]).expect("table"))
    };
    let own = BTreeMap::from([
        ("sites".to_owned(), local(SITES)),
        (
            "areas".to_owned(),
            local(&[("site", Integer), ("population", Integer)]),
        ),
    ]);
    let catalogue = Catalogue::new(
        vec![catalogue("a", tables()), catalogue("b", tables())],
        &own,
    );
    Planner::new(Arc::new(catalogue), &own).expect("planner")
}

async fn plan(sql: &str) -> Result<Arc<Planned>, Refusal> {
    planner().plan(sql).await
}

/// The upper plan and what is sent, or the refusal.
async fn shown(sql: &str) -> String {
    match plan(sql).await {
        Ok(planned) => {
            let mut text = planned.upper.display_indent().to_string();
            for (index, frontier) in planned.frontiers.iter().enumerate() {
                let plan =
                    datafusion::logical_expr::LogicalPlan::Aggregate(frontier.aggregate.clone());
                text.push_str(&format!("\n-- {index}\n{}", plan.display_indent()));
            }
            text
        }
        Err(refusal) => format!("{}: {}\n{}", refusal.code, refusal.message, refusal.hint),
    }
}

macro_rules! cuts {
    ($($name:ident: $sql:literal => @$snapshot:literal;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                insta::assert_snapshot!(shown($sql).await, @$snapshot);
            }
        )*
    };
}

cuts! {
    count: "SELECT COUNT(*) AS n FROM visits" => @r#"
    Projection: count(Int64(1)) AS count(*) AS n
      Released: 0
    -- 0
    Aggregate: groupBy=[[]], aggr=[[count(Int64(1))]]
      TableScan: visits
    "#;
    grouped: "SELECT site, COUNT(DISTINCT person_id) n, AVG(cost) c FROM visits GROUP BY site" => @r#"
    Projection: visits.site, count(DISTINCT visits.person_id) AS n, avg(visits.cost) AS c
      Released: 0
    -- 0
    Aggregate: groupBy=[[visits.site]], aggr=[[count(DISTINCT visits.person_id), avg(visits.cost)]]
      TableScan: visits
    "#;
    by_region: "SELECT region, SUM(cost) FROM visits WHERE site = 1 GROUP BY region" => @r#"
    Projection: visits.region, sum(visits.cost)
      Released: 0
    -- 0
    Aggregate: groupBy=[[visits.region]], aggr=[[sum(visits.cost)]]
      Filter: visits.site = Int64(1)
        TableScan: visits
    "#;
    having_order_limit: "SELECT site, COUNT(*) AS n FROM visits GROUP BY site HAVING COUNT(*) > 10 ORDER BY n DESC LIMIT 3" => @r#"
    Limit: skip=0, fetch=3
      Sort: n DESC NULLS LAST
        Projection: visits.site, count(Int64(1)) AS count(*) AS n
          Filter: count(Int64(1)) > Int64(10)
            Released: 0
    -- 0
    Aggregate: groupBy=[[visits.site]], aggr=[[count(Int64(1))]]
      TableScan: visits
    "#;
    exists: "SELECT COUNT(*) FROM patients p WHERE EXISTS (SELECT 1 FROM visits v WHERE v.person_id = p.person_id AND v.site = 2)" => @r#"
    Projection: count(Int64(1)) AS count(*)
      Released: 0
    -- 0
    Aggregate: groupBy=[[]], aggr=[[count(Int64(1))]]
      LeftSemi Join: p.person_id = __correlated_sq_1.person_id
        SubqueryAlias: p
          TableScan: patients
        SubqueryAlias: __correlated_sq_1
          Projection: Int64(1), v.person_id
            Filter: v.site = Int64(2)
              SubqueryAlias: v
                TableScan: visits
    "#;
    not_exists: "SELECT COUNT(*) FROM patients p WHERE NOT EXISTS (SELECT 1 FROM visits v WHERE v.person_id = p.person_id)" => @r#"
    Projection: count(Int64(1)) AS count(*)
      Released: 0
    -- 0
    Aggregate: groupBy=[[]], aggr=[[count(Int64(1))]]
      LeftAnti Join: p.person_id = __correlated_sq_1.person_id
        SubqueryAlias: p
          TableScan: patients
        SubqueryAlias: __correlated_sq_1
          Projection: Int64(1), v.person_id
            SubqueryAlias: v
              TableScan: visits
    "#;
    in_subquery: "SELECT COUNT(*) FROM patients WHERE person_id IN (SELECT person_id FROM visits WHERE cost > 100)" => @r#"
    Projection: count(Int64(1)) AS count(*)
      Released: 0
    -- 0
    Aggregate: groupBy=[[]], aggr=[[count(Int64(1))]]
      LeftSemi Join: patients.person_id = __correlated_sq_1.person_id
        TableScan: patients
        SubqueryAlias: __correlated_sq_1
          Projection: visits.person_id
            Filter: visits.cost > Float64(100)
              TableScan: visits
    "#;
    cte_twice: "WITH t AS (SELECT site, COUNT(*) AS n FROM visits GROUP BY site) SELECT a.site, a.n, b.n AS m FROM t a JOIN t b ON a.site = b.site + 1" => @r#"
    Projection: a.site, a.n, b.n AS m
      Inner Join: a.site = b.site + Int64(1)
        SubqueryAlias: a
          SubqueryAlias: t
            Projection: visits.site, count(Int64(1)) AS count(*) AS n
              Released: 0
        SubqueryAlias: b
          SubqueryAlias: t
            Projection: visits.site, count(Int64(1)) AS count(*) AS n
              Released: 0
    -- 0
    Aggregate: groupBy=[[visits.site]], aggr=[[count(Int64(1))]]
      TableScan: visits
    "#;
    per_person: "SELECT COUNT(*) FROM (SELECT person_id FROM visits GROUP BY person_id HAVING COUNT(*) >= 3) t" => @r#"
    Projection: count(Int64(1)) AS count(*)
      Released: 0
    -- 0
    Aggregate: groupBy=[[]], aggr=[[count(Int64(1))]]
      SubqueryAlias: t
        Projection: visits.person_id
          Filter: count(Int64(1)) >= Int64(3)
            Aggregate: groupBy=[[visits.person_id]], aggr=[[count(Int64(1))]]
              TableScan: visits
    "#;
    correlated_per_person: "SELECT sex, COUNT(*) FROM patients p WHERE (SELECT COUNT(*) FROM visits v WHERE v.person_id = p.person_id) >= 3 GROUP BY sex" => @r#"
    Projection: p.sex, count(Int64(1)) AS count(*)
      Released: 0
    -- 0
    Aggregate: groupBy=[[p.sex]], aggr=[[count(Int64(1))]]
      Projection: p.person_id, p.sex, p.age, p.region
        Filter: CASE WHEN __scalar_sq_1.__always_true IS NULL THEN Int64(0) ELSE __scalar_sq_1.count(*) END >= Int64(3)
          Left Join: p.person_id = __scalar_sq_1.person_id
            SubqueryAlias: p
              TableScan: patients
            SubqueryAlias: __scalar_sq_1
              Projection: count(Int64(1)) AS count(*), v.person_id, __always_true
                Aggregate: groupBy=[[v.person_id, Boolean(true) AS __always_true]], aggr=[[count(Int64(1))]]
                  SubqueryAlias: v
                    TableScan: visits
    "#;
    union_of_releases: "SELECT 'm' AS sex, COUNT(*) AS n FROM patients WHERE sex = 'm' UNION ALL SELECT 'f', COUNT(*) FROM patients WHERE sex = 'f'" => @r#"
    Union
      Projection: Utf8("m") AS sex, count(Int64(1)) AS count(*) AS n
        Released: 0
      Projection: Utf8("f") AS sex, count(Int64(1)) AS n
        Released: 1
    -- 0
    Aggregate: groupBy=[[]], aggr=[[count(Int64(1))]]
      Filter: patients.sex = Utf8("m")
        TableScan: patients
    -- 1
    Aggregate: groupBy=[[]], aggr=[[count(Int64(1))]]
      Filter: patients.sex = Utf8("f")
        TableScan: patients
    "#;
    scalar_arithmetic: "SELECT (SELECT COUNT(*) FROM visits) * 1.0 / (SELECT COUNT(*) FROM patients) AS ratio" => @r#"
    Projection: __scalar_sq_1.count(*) / __scalar_sq_2.count(*) AS ratio
      Left Join:  Filter: Boolean(true)
        Left Join:  Filter: Boolean(true)
          EmptyRelation: rows=1
          SubqueryAlias: __scalar_sq_1
            Projection: CAST(count(Int64(1)) AS count(*) AS Float64)
              Released: 0
        SubqueryAlias: __scalar_sq_2
          Projection: CAST(count(Int64(1)) AS count(*) AS Float64)
            Released: 1
    -- 0
    Aggregate: groupBy=[[]], aggr=[[count(Int64(1))]]
      TableScan: visits
    -- 1
    Aggregate: groupBy=[[]], aggr=[[count(Int64(1))]]
      TableScan: patients
    "#;
    never_true: "SELECT site, COUNT(*) FROM visits WHERE 1 = 0 GROUP BY site" => @r#"
    Projection: visits.site, count(Int64(1)) AS count(*)
      Released: 0
    -- 0
    Aggregate: groupBy=[[visits.site]], aggr=[[count(Int64(1))]]
      Filter: Boolean(false)
        TableScan: visits
    "#;
    public_join_below: "SELECT s.name, COUNT(*) FROM visits v JOIN sites s ON v.site = s.site GROUP BY s.name" => @r#"
    Projection: s.name, count(Int64(1)) AS count(*)
      Released: 0
    -- 0
    Aggregate: groupBy=[[s.name]], aggr=[[count(Int64(1))]]
      Inner Join: v.site = s.site
        SubqueryAlias: v
          TableScan: visits
        SubqueryAlias: s
          TableScan: sites
    "#;
    public_join_above: "SELECT a.site, t.n * 1000.0 / a.population AS rate FROM areas a JOIN (SELECT site, COUNT(*) n FROM visits GROUP BY site) t ON a.site = t.site" => @r#"
    Projection: a.site, CAST(t.n AS Float64) * Float64(1000) / CAST(a.population AS Float64) AS rate
      Inner Join: a.site = t.site
        SubqueryAlias: a
          TableScan: areas
        SubqueryAlias: t
          Projection: visits.site, count(Int64(1)) AS count(*) AS n
            Released: 0
    -- 0
    Aggregate: groupBy=[[visits.site]], aggr=[[count(Int64(1))]]
      TableScan: visits
    "#;
    distinct_persons: "SELECT COUNT(*) FROM (SELECT DISTINCT person_id, site FROM visits) t" => @r#"
    Projection: count(Int64(1)) AS count(*)
      Released: 0
    -- 0
    Aggregate: groupBy=[[]], aggr=[[count(Int64(1))]]
      SubqueryAlias: t
        Aggregate: groupBy=[[visits.person_id, visits.site]], aggr=[[]]
          Projection: visits.person_id, visits.site
            TableScan: visits
    "#;
    private_join: "SELECT p.sex, SUM(v.cost) FROM patients p JOIN visits v USING (person_id) GROUP BY p.sex" => @r#"
    Projection: p.sex, sum(v.cost)
      Released: 0
    -- 0
    Aggregate: groupBy=[[p.sex]], aggr=[[sum(v.cost)]]
      Inner Join: p.person_id = v.person_id
        SubqueryAlias: p
          TableScan: patients
        SubqueryAlias: v
          TableScan: visits
    "#;
    comma_join: "SELECT p.sex, COUNT(*) FROM patients p, visits v WHERE p.person_id = v.person_id AND v.cost > 1 GROUP BY p.sex" => @r#"
    Projection: p.sex, count(Int64(1)) AS count(*)
      Released: 0
    -- 0
    Aggregate: groupBy=[[p.sex]], aggr=[[count(Int64(1))]]
      Filter: v.cost > Float64(1)
        Inner Join: p.person_id = v.person_id
          SubqueryAlias: p
            TableScan: patients
          SubqueryAlias: v
            TableScan: visits
    "#;
    per_person_then_region: "SELECT region, AVG(n) FROM (SELECT region, person_id, COUNT(*) n FROM visits GROUP BY region, person_id) t GROUP BY region" => @r#"
    Projection: t.region, avg(t.n)
      Released: 0
    -- 0
    Aggregate: groupBy=[[t.region]], aggr=[[avg(CAST(t.n AS Float64))]]
      SubqueryAlias: t
        Projection: visits.region, visits.person_id, count(Int64(1)) AS count(*) AS n
          Aggregate: groupBy=[[visits.region, visits.person_id]], aggr=[[count(Int64(1))]]
            TableScan: visits
    "#;
    rollup: "SELECT site, kind, GROUPING(site) + GROUPING(kind) AS level, COUNT(*) AS n FROM visits GROUP BY ROLLUP(site, kind)" => @r#"
    Projection: visits.site, visits.kind, grouping(visits.site) + grouping(visits.kind) AS level, count(Int64(1)) AS count(*) AS n
      Projection: visits.site, visits.kind, CAST(__grouping_id & UInt8(2) >> UInt8(1) AS Int32) AS grouping(visits.site), CAST(__grouping_id & UInt8(1) AS Int32) AS grouping(visits.kind), count(Int64(1))
        Projection: __set_0 AS site, __set_1 AS kind, __set_2 AS __grouping_id, __set_3 AS count(Int64(1))
          Union
            Projection: visits.site AS __set_0, visits.kind AS __set_1, UInt8(0) AS __set_2, count(Int64(1)) AS __set_3
              Released: 0
            Projection: visits.site AS __set_0, Utf8(NULL) AS __set_1, UInt8(1) AS __set_2, count(Int64(1)) AS __set_3
              Released: 1
            Projection: Int64(NULL) AS __set_0, Utf8(NULL) AS __set_1, UInt8(3) AS __set_2, count(Int64(1)) AS __set_3
              Released: 2
    -- 0
    Aggregate: groupBy=[[visits.site, visits.kind]], aggr=[[count(Int64(1))]]
      TableScan: visits
    -- 1
    Aggregate: groupBy=[[visits.site]], aggr=[[count(Int64(1))]]
      TableScan: visits
    -- 2
    Aggregate: groupBy=[[]], aggr=[[count(Int64(1))]]
      TableScan: visits
    "#;
    cube_of_a_join: "SELECT p.sex, v.site, SUM(v.cost) FROM patients p JOIN visits v USING (person_id) GROUP BY CUBE(p.sex, v.site)" => @r#"
    Projection: p.sex, v.site, sum(v.cost)
      Projection: __set_0 AS sex, __set_1 AS site, __set_2 AS __grouping_id, __set_3 AS sum(v.cost)
        Union
          Projection: p.sex AS __set_0, v.site AS __set_1, UInt8(0) AS __set_2, sum(v.cost) AS __set_3
            Released: 0
          Projection: p.sex AS __set_0, Int64(NULL) AS __set_1, UInt8(1) AS __set_2, sum(v.cost) AS __set_3
            Released: 1
          Projection: Utf8(NULL) AS __set_0, v.site AS __set_1, UInt8(2) AS __set_2, sum(v.cost) AS __set_3
            Released: 2
          Projection: Utf8(NULL) AS __set_0, Int64(NULL) AS __set_1, UInt8(3) AS __set_2, sum(v.cost) AS __set_3
            Released: 3
    -- 0
    Aggregate: groupBy=[[p.sex, v.site]], aggr=[[sum(v.cost)]]
      Inner Join: p.person_id = v.person_id
        SubqueryAlias: p
          TableScan: patients
        SubqueryAlias: v
          TableScan: visits
    -- 1
    Aggregate: groupBy=[[p.sex]], aggr=[[sum(v.cost)]]
      Inner Join: p.person_id = v.person_id
        SubqueryAlias: p
          TableScan: patients
        SubqueryAlias: v
          TableScan: visits
    -- 2
    Aggregate: groupBy=[[v.site]], aggr=[[sum(v.cost)]]
      Inner Join: p.person_id = v.person_id
        SubqueryAlias: p
          TableScan: patients
        SubqueryAlias: v
          TableScan: visits
    -- 3
    Aggregate: groupBy=[[]], aggr=[[sum(v.cost)]]
      Inner Join: p.person_id = v.person_id
        SubqueryAlias: p
          TableScan: patients
        SubqueryAlias: v
          TableScan: visits
    "#;
    sets_twice: "SELECT site, COUNT(*) FROM visits GROUP BY GROUPING SETS ((site), (), (site))" => @r#"
    Projection: visits.site, count(Int64(1)) AS count(*)
      Projection: __set_0 AS site, __set_1 AS __grouping_id, __set_2 AS count(Int64(1))
        Union
          Projection: visits.site AS __set_0, UInt8(0) AS __set_1, count(Int64(1)) AS __set_2
            Released: 0
          Projection: Int64(NULL) AS __set_0, UInt8(1) AS __set_1, count(Int64(1)) AS __set_2
            Released: 1
          Projection: visits.site AS __set_0, UInt8(2) AS __set_1, count(Int64(1)) AS __set_2
            Released: 0
    -- 0
    Aggregate: groupBy=[[visits.site]], aggr=[[count(Int64(1))]]
      TableScan: visits
    -- 1
    Aggregate: groupBy=[[]], aggr=[[count(Int64(1))]]
      TableScan: visits
    "#;
    beside_a_key: "SELECT region, site, COUNT(*) FROM visits GROUP BY region, ROLLUP(site)" => @r#"
    Projection: visits.region, visits.site, count(Int64(1)) AS count(*)
      Projection: __set_0 AS region, __set_1 AS site, __set_2 AS __grouping_id, __set_3 AS count(Int64(1))
        Union
          Projection: visits.region AS __set_0, Int64(NULL) AS __set_1, UInt8(1) AS __set_2, count(Int64(1)) AS __set_3
            Released: 0
          Projection: visits.region AS __set_0, visits.site AS __set_1, UInt8(0) AS __set_2, count(Int64(1)) AS __set_3
            Released: 1
    -- 0
    Aggregate: groupBy=[[visits.region]], aggr=[[count(Int64(1))]]
      TableScan: visits
    -- 1
    Aggregate: groupBy=[[visits.region, visits.site]], aggr=[[count(Int64(1))]]
      TableScan: visits
    "#;
    rollup_of_figures: "SELECT site, SUM(n) FROM (SELECT site, COUNT(*) n FROM visits GROUP BY site) t GROUP BY ROLLUP(site)" => @r#"
    Projection: t.site, sum(t.n)
      Projection: __set_0 AS site, __set_1 AS __grouping_id, __set_2 AS sum(t.n)
        Union
          Projection: t.site AS __set_0, UInt8(0) AS __set_1, sum(t.n) AS __set_2
            Aggregate: groupBy=[[t.site]], aggr=[[sum(t.n)]]
              SubqueryAlias: t
                Projection: visits.site, count(Int64(1)) AS count(*) AS n
                  Released: 0
          Projection: Int64(NULL) AS __set_0, UInt8(1) AS __set_1, sum(t.n) AS __set_2
            Aggregate: groupBy=[[]], aggr=[[sum(t.n)]]
              SubqueryAlias: t
                Projection: visits.site, count(Int64(1)) AS count(*) AS n
                  Released: 0
    -- 0
    Aggregate: groupBy=[[visits.site]], aggr=[[count(Int64(1))]]
      TableScan: visits
    "#;
    rollup_of_public: "SELECT site, COUNT(*) FROM sites GROUP BY ROLLUP(site)" => @r#"
    Projection: sites.site, count(Int64(1)) AS count(*)
      Aggregate: groupBy=[[ROLLUP (sites.site)]], aggr=[[count(Int64(1))]]
        TableScan: sites projection=[site, name]
    "#;
    rollup_per_person: "SELECT COUNT(*) FROM (SELECT person_id, site, COUNT(*) n FROM visits GROUP BY GROUPING SETS ((person_id, site), (person_id))) t WHERE n > 2" => @r#"
    Projection: count(Int64(1)) AS count(*)
      Released: 0
    -- 0
    Aggregate: groupBy=[[]], aggr=[[count(Int64(1))]]
      Filter: t.n > Int64(2)
        SubqueryAlias: t
          Projection: visits.person_id, visits.site, count(Int64(1)) AS count(*) AS n
            Projection: __set_0 AS person_id, __set_1 AS site, __set_2 AS __grouping_id, __set_3 AS count(Int64(1))
              Union
                Projection: visits.person_id AS __set_0, visits.site AS __set_1, UInt8(0) AS __set_2, count(Int64(1)) AS __set_3
                  Aggregate: groupBy=[[visits.person_id, visits.site]], aggr=[[count(Int64(1))]]
                    TableScan: visits
                Projection: visits.person_id AS __set_0, Int64(NULL) AS __set_1, UInt8(1) AS __set_2, count(Int64(1)) AS __set_3
                  Aggregate: groupBy=[[visits.person_id]], aggr=[[count(Int64(1))]]
                    TableScan: visits
    "#;
    first_of_each_person: "SELECT kind, COUNT(*) FROM (SELECT DISTINCT ON (person_id) person_id, kind FROM visits ORDER BY person_id, cost) t GROUP BY kind" => @r#"
    Projection: t.kind, count(Int64(1)) AS count(*)
      Released: 0
    -- 0
    Aggregate: groupBy=[[t.kind]], aggr=[[count(Int64(1))]]
      SubqueryAlias: t
        Projection: first_value(visits.person_id) ORDER BY [visits.person_id ASC NULLS LAST, visits.cost ASC NULLS LAST] AS person_id, first_value(visits.kind) ORDER BY [visits.person_id ASC NULLS LAST, visits.cost ASC NULLS LAST] AS kind
          Sort: visits.person_id ASC NULLS LAST
            Aggregate: groupBy=[[visits.person_id]], aggr=[[first_value(visits.person_id) ORDER BY [visits.person_id ASC NULLS LAST, visits.cost ASC NULLS LAST], first_value(visits.kind) ORDER BY [visits.person_id ASC NULLS LAST, visits.cost ASC NULLS LAST]]]
              TableScan: visits
    "#;
    still_of_a_person: "SELECT COUNT(*) FROM (SELECT t.person_id, COUNT(*) n FROM (SELECT DISTINCT ON (person_id) person_id, kind FROM visits ORDER BY person_id, cost) t JOIN visits v ON v.person_id = t.person_id GROUP BY t.person_id) u WHERE n > 2" => @r#"
    Projection: count(Int64(1)) AS count(*)
      Released: 0
    -- 0
    Aggregate: groupBy=[[]], aggr=[[count(Int64(1))]]
      Filter: u.n > Int64(2)
        SubqueryAlias: u
          Projection: t.person_id, count(Int64(1)) AS count(*) AS n
            Aggregate: groupBy=[[t.person_id]], aggr=[[count(Int64(1))]]
              Inner Join: t.person_id = v.person_id
                SubqueryAlias: t
                  Projection: first_value(visits.person_id) ORDER BY [visits.person_id ASC NULLS LAST, visits.cost ASC NULLS LAST] AS person_id, first_value(visits.kind) ORDER BY [visits.person_id ASC NULLS LAST, visits.cost ASC NULLS LAST] AS kind
                    Sort: visits.person_id ASC NULLS LAST
                      Aggregate: groupBy=[[visits.person_id]], aggr=[[first_value(visits.person_id) ORDER BY [visits.person_id ASC NULLS LAST, visits.cost ASC NULLS LAST], first_value(visits.kind) ORDER BY [visits.person_id ASC NULLS LAST, visits.cost ASC NULLS LAST]]]
                        TableScan: visits
                SubqueryAlias: v
                  TableScan: visits
    "#;
    numbered: "SELECT site, COUNT(*) FROM (SELECT site FROM visits QUALIFY ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY cost) = 1) t GROUP BY site" => @r#"
    Projection: t.site, count(Int64(1)) AS count(*)
      Released: 0
    -- 0
    Aggregate: groupBy=[[t.site]], aggr=[[count(Int64(1))]]
      SubqueryAlias: t
        Projection: visits.site
          Filter: row_number() PARTITION BY [visits.person_id] ORDER BY [visits.cost ASC NULLS LAST] RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW = UInt64(1)
            WindowAggr: windowExpr=[[row_number() PARTITION BY [visits.person_id] ORDER BY [visits.cost ASC NULLS LAST] RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW]]
              TableScan: visits
    "#;
    window_below: "SELECT site, SUM(cost - earlier) FROM (SELECT site, cost, LAG(cost) OVER (PARTITION BY person_id ORDER BY site) AS earlier FROM visits) t GROUP BY site" => @r#"
    Projection: t.site, sum(t.cost - t.earlier)
      Released: 0
    -- 0
    Aggregate: groupBy=[[t.site]], aggr=[[sum(t.cost - t.earlier)]]
      SubqueryAlias: t
        Projection: visits.site, visits.cost, lag(visits.cost) PARTITION BY [visits.person_id] ORDER BY [visits.site ASC NULLS LAST] RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW AS earlier
          WindowAggr: windowExpr=[[lag(visits.cost) PARTITION BY [visits.person_id] ORDER BY [visits.site ASC NULLS LAST] RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW]]
            TableScan: visits
    "#;
    exists_below_or: "SELECT COUNT(*) FROM patients p WHERE age > 80 OR EXISTS (SELECT 1 FROM visits v WHERE v.person_id = p.person_id AND v.site = 2)" => @r#"
    Projection: count(Int64(1)) AS count(*)
      Released: 0
    -- 0
    Aggregate: groupBy=[[]], aggr=[[count(Int64(1))]]
      Projection: p.person_id, p.sex, p.age, p.region
        Filter: p.age > Int64(80) OR __correlated_sq_1.mark
          LeftMark Join: p.person_id = __correlated_sq_1.person_id
            SubqueryAlias: p
              TableScan: patients
            Projection: __correlated_sq_1.person_id
              SubqueryAlias: __correlated_sq_1
                Projection: Int64(1), v.person_id
                  Filter: v.site = Int64(2)
                    SubqueryAlias: v
                      TableScan: visits
    "#;
    public_only: "SELECT COUNT(*) FROM sites" => @r#"
    Projection: count(Int64(1)) AS count(*)
      Aggregate: groupBy=[[]], aggr=[[count(Int64(1))]]
        TableScan: sites projection=[site, name]
    "#;
}

cuts! {
    rows: "SELECT * FROM visits" => @r#"
    private_output: the result would show rows of `visits`, which belong to persons
    Ask for an aggregate: SELECT COUNT(*) FROM visits, or COUNT(DISTINCT person_id), SUM, AVG of a column, with GROUP BY.
    "#;
    rows_per_person: "SELECT person_id, COUNT(*) FROM visits GROUP BY person_id" => @r#"
    private_output: the result would have rows for each `person_id` of `visits`
    Put this into a subquery and aggregate over persons: SELECT COUNT(*) AS persons FROM (SELECT person_id, COUNT(*) FROM visits GROUP BY person_id) AS t
    "#;
    distinct_values: "SELECT DISTINCT site FROM visits" => @r#"
    private_output: which values of visits.site occur belongs to persons
    Count persons for each value: COUNT(DISTINCT person_id).
    "#;
    noisy_below: "SELECT COUNT(*) FROM visits WHERE cost > (SELECT AVG(cost) FROM visits)" => @r#"
    unsupported: a private aggregate can't be used to select or compute with rows of persons
    Ask for it first, and write the figure that you get as a number.
    "#;
    coordinator_table_below: "SELECT population, COUNT(*) FROM visits v JOIN areas a ON v.site = a.site GROUP BY population" => @r#"
    unsupported: the regions don't have the table `areas`, so it can't be joined with rows of persons
    Aggregate in a subquery first, and join the figures with it.
    "#;
    node_table_above: "SELECT c.kind FROM codes c JOIN (SELECT kind, COUNT(*) n FROM visits GROUP BY kind) t ON c.kind = t.kind" => @r#"
    unsupported: only the regions have `codes`: it can be joined with rows of persons below an aggregate, not used with the figures after it
    Join it before aggregating, or have the coordinator's owner add it as a [[table]].
    "#;
    rows_beside_release: "SELECT person_id, n FROM visits, (SELECT COUNT(*) n FROM visits) t" => @r#"
    private_output: the result would show rows of `visits`, which belong to persons
    Ask for an aggregate: SELECT COUNT(*) FROM visits, or COUNT(DISTINCT person_id), SUM, AVG of a column, with GROUP BY.
    "#;
    unknown_table: "SELECT COUNT(*) FROM visit" => @r#"
    unknown_table: there is no table `visit`
    Did you mean `visits`? The tables are areas, codes, patients, sites, visits.
    "#;
    unknown_column: "SELECT COUNT(*) FROM visits WHERE costs > 1" => @r#"
    unknown_column: there is no column `costs` here
    Did you mean `cost`?
    "#;
    ambiguous: "SELECT region, COUNT(*) FROM visits v JOIN patients p USING (person_id) GROUP BY region" => @r#"
    unknown_column: the column `region` is in more than one table here
    Write the table's name or alias before it.
    "#;
    rollup_of_persons: "SELECT person_id, COUNT(*) FROM visits GROUP BY ROLLUP(person_id)" => @r#"
    private_output: the result would have rows for each `person_id` of `visits`
    Put this into a subquery and aggregate over persons: SELECT COUNT(*) AS persons FROM (…) AS t
    "#;
    rollup_of_values: "SELECT site, kind FROM visits GROUP BY ROLLUP(site, kind)" => @r#"
    private_output: which values of ROLLUP (visits.site, visits.kind) occur belongs to persons
    Count persons for each value: COUNT(DISTINCT person_id).
    "#;
    rollup_below: "SELECT COUNT(*) FROM (SELECT site, COUNT(*) n FROM visits GROUP BY ROLLUP(site)) t JOIN visits v ON v.site = t.site" => @r#"
    unsupported: a private aggregate can't be used to select or compute with rows of persons
    Ask for it first, and write the figure that you get as a number.
    "#;
    wide_cube: "SELECT COUNT(*) FROM visits GROUP BY CUBE(site, kind, cost, person_id, region, site + 1, site + 2)" => @r#"
    too_large: more than 64 grouping sets, each a release of its own
    Name the sets that are wanted: GROUP BY GROUPING SETS ((a, b), (a), ()).
    "#;
    sampled: "SELECT COUNT(*) FROM visits TABLESAMPLE SYSTEM (10)" => @r#"
    unsupported: TABLESAMPLE is not taken into account here, so it can't be asked
    Ask for all rows: a smaller sample would have more noise, not less.
    "#;
    file: "SELECT COUNT(*) FROM 'some/file.parquet'" => @r#"
    unknown_table: there is no table `some/file.parquet`
    The tables are areas, codes, patients, sites, visits.
    "#;
    two: "SELECT 1; SELECT 2" => @r#"
    unsupported: one statement at a time, please: this is none or more than one
    Ask one SELECT; several can be joined with UNION ALL.
    "#;
    nothing: "" => @r#"
    unsupported: one statement at a time, please: this is none or more than one
    Ask one SELECT; several can be joined with UNION ALL.
    "#;
    copy: "COPY visits TO 'x.parquet'" => @r#"
    unsupported: only SELECT is answered, not `COPY`
    Ask an aggregate: SELECT COUNT(*) FROM …
    "#;
    create: "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'" => @r#"
    unsupported: only SELECT is answered, not `CREATE`
    Ask an aggregate: SELECT COUNT(*) FROM …
    "#;
    set: "SET datafusion.execution.batch_size = 1" => @r#"
    unsupported: only SELECT is answered, not `SET`
    Ask an aggregate: SELECT COUNT(*) FROM …
    "#;
    explain: "EXPLAIN ANALYZE SELECT COUNT(*) FROM visits" => @r#"
    unsupported: EXPLAIN of a plan is not for private tables
    EXPLAIN PRIVACY SELECT … says what a question would release and cost.
    "#;
    insert: "INSERT INTO visits VALUES (1)" => @r#"
    unsupported: only SELECT is answered, not `INSERT`
    Ask an aggregate: SELECT COUNT(*) FROM …
    "#;
    into: "SELECT COUNT(*) AS n INTO x FROM visits" => @r#"
    unsupported: only SELECT is answered, not `this statement`
    Ask an aggregate: SELECT COUNT(*) FROM …
    "#;
    garbage: "SELEC COUNT(*) FROM visits" => @"syntax: sql parser error: Expected: an SQL statement, found: SELEC at Line: 1, Column: 1";
    function: "SELECT COUNT(*) FROM generate_series(1, 10)" => @r#"
    unsupported: functions that make tables are not there
    The tables are areas, codes, patients, sites, visits.
    "#;
    recursive: "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT COUNT(*) FROM t" => @"unsupported: Recursive CTEs are not enabled";
}
