//! Tables with their margins, made to add up.

use super::*;

const TABLE: &str = "region, site, COUNT(*) AS n, AVG(cost) AS c FROM visits \
                     GROUP BY ROLLUP(region, site) ORDER BY region, site";

fn consistent() -> Question {
    Question::new(format!(
        "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(consistent = true) {TABLE}"
    ))
}

/// Counts and their intervals by region and site; nothing for «all».
fn by_key(answer: &Answer) -> BTreeMap<(Option<String>, Option<i64>), [i64; 3]> {
    let regions = answer.rows.column_by_name("region").expect("region");
    let regions = regions.as_string::<i32>();
    let sites = answer.rows.column_by_name("site").expect("site");
    let sites = sites.as_primitive::<Int64Type>();
    let [n, low, high] = ["n", "n_low", "n_high"].map(|name| whole(answer, name));
    (0..answer.rows.num_rows())
        .map(|row| {
            let region = regions.iter().nth(row).flatten().map(str::to_owned);
            let site = sites.iter().nth(row).flatten();
            ((region, site), [n[row], low[row], high[row]])
        })
        .collect()
}

#[tokio::test]
async fn parts_add_up_to_wholes_with_smaller_intervals() {
    let nodes = two();
    let coordinator = over(&nodes);
    let free = Question::new(format!("SELECT {TABLE}"));
    let wide = by_key(&coordinator.answer(&free).await.expect("free"));
    let answer = coordinator.answer(&consistent()).await.expect("consistent");
    let counts = by_key(&answer);
    assert_eq!(counts.len(), 7);
    let n = |region: Option<&str>, site: Option<i64>| counts[&(region.map(str::to_owned), site)][0];
    for (region, sites) in [("north", [1, 2]), ("south", [2, 3])] {
        let parts: i64 = sites.iter().map(|site| n(Some(region), Some(*site))).sum();
        assert_eq!(parts, n(Some(region), None));
    }
    assert_eq!(
        n(Some("north"), None) + n(Some("south"), None),
        n(None, None)
    );
    let width =
        |of: &BTreeMap<_, [i64; 3]>, key: &(Option<String>, Option<i64>)| of[key][2] - of[key][1];
    for key in counts.keys() {
        assert!(width(&counts, key) < width(&wide, key), "{key:?}");
    }
    // It is known three times: as it is, by region and by site.
    let total = (None, None);
    assert!((width(&counts, &total) as f64) < 0.75 * width(&wide, &total) as f64);
}

#[tokio::test]
async fn reconciled_figures_are_covered() {
    let (mut held, mut all) = (0, 0);
    for _ in 0..60 {
        let nodes = two();
        let answer = over(&nodes).answer(&consistent()).await.expect("answer");
        for ((region, site), [_, low, high]) in by_key(&answer) {
            let truth = match (region, site) {
                (_, Some(_)) => 10_000,
                (Some(_), None) => 20_000,
                (None, None) => 40_000,
            };
            all += 1;
            held += u32::from((low..=high).contains(&truth));
        }
    }
    // 420 figures, of which those of one answer hang together: four standard errors are 0.06.
    let rate = f64::from(held) / f64::from(all);
    assert!((0.89..=0.995).contains(&rate), "{rate}");
}

#[tokio::test]
async fn where_nothing_adds_up_it_is_refused_before_it_is_paid() {
    let nodes = two();
    let coordinator = over(&nodes);
    for sql in [
        "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(consistent = true) site, COUNT(*) FROM visits \
         GROUP BY site",
        "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(consistent = true) site, COUNT(*) AS n \
         FROM visits WHERE site < 3 GROUP BY site UNION ALL SELECT NULL, COUNT(*) FROM visits",
    ] {
        let refusal = coordinator
            .answer(&Question::new(sql))
            .await
            .expect_err("nothing adds up");
        assert!(refusal.message.contains("adds up"), "{refusal:?}");
    }
    assert_eq!(*nodes[0].charged.lock().expect("lock"), 0);
}

/// What is clipped apart needn't add up.
#[tokio::test]
async fn narrower_bounds_are_refused() {
    let nodes = two();
    let coordinator = over(&nodes);
    for option in [
        "bounds = 'found'",
        "max_rows_contributed = 2",
        "max_total_contributed = 9",
        "max_groups_contributed = 1",
    ] {
        let sql = format!(
            "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(consistent = true, {option}) {TABLE}"
        );
        let refusal = coordinator
            .answer(&Question::new(sql))
            .await
            .expect_err(option);
        assert_eq!(refusal.code, ErrorCode::InvalidParameter, "{refusal:?}");
        assert!(refusal.message.contains("clipped apart"), "{refusal:?}");
    }
    assert_eq!(*nodes[0].charged.lock().expect("lock"), 0);
}
