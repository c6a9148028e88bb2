//! Bounds of a person's contribution, as the analysis finds them for SQL.

use super::*;

/// A person's bound is the least that is known: the norm of one count is its rows, in whole ones.
#[tokio::test(flavor = "multi_thread")]
async fn bounds_multiply_only_as_they_must() {
    let bench = bench().await;
    for (from, rows) in [
        ("visits", 5),
        ("visits a JOIN visits b ON a.person_id = b.person_id", 25),
        (
            "visits a JOIN (SELECT person_id, SUM(mdvis) AS s FROM visits GROUP BY person_id) b ON a.person_id = b.person_id",
            5,
        ),
        (
            "visits a LEFT JOIN (SELECT DISTINCT person_id FROM visits WHERE totadm > 0) b ON a.person_id = b.person_id",
            5,
        ),
        ("visits a JOIN plans p ON a.plan = p.plan", 5),
        (
            "visits a WHERE EXISTS (SELECT 1 FROM visits b WHERE a.person_id = b.person_id)",
            5,
        ),
        ("visits a WHERE plan IN (SELECT plan FROM plans)", 5),
        (
            "(SELECT person_id FROM visits UNION ALL SELECT person_id FROM visits WHERE year = 1) u",
            10,
        ),
        ("(SELECT person_id FROM visits GROUP BY person_id) u", 1),
        // Four values of health, each once.
        ("(SELECT DISTINCT person_id, health FROM visits) u", 4),
        (
            "(SELECT DISTINCT person_id, year FROM visits) u WHERE year BETWEEN 2 AND 3",
            2,
        ),
        (
            "(SELECT ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY year) AS n FROM visits) t WHERE n <= 3",
            3,
        ),
        // Each year with the next: one row of the other side for each.
        (
            "(SELECT person_id, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY year) AS n FROM visits) a \
             JOIN (SELECT person_id, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY year) AS n FROM visits) b \
             ON a.person_id = b.person_id AND b.n = a.n + 1",
            5,
        ),
    ] {
        let node = &bench.node;
        let sql = format!("SELECT COUNT(*) FROM {from}");
        let quoted = Admitted::admit(node, &question(node, &sql))
            .and_then(|admitted| admitted.quote(node))
            .unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"));
        let found = quoted.quote.measures[0].rows;
        assert_eq!(found, rows, "{sql}: {:?}", quoted.lowered.query.input);
    }
}

/// What a question sums: the bounds of one row, and what is taken off it.
fn summed(bench: &Bench, sql: &str) -> (f64, f64, f64) {
    let node = &bench.node;
    let quoted = Admitted::admit(node, &question(node, sql))
        .and_then(|admitted| admitted.quote(node))
        .unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"));
    let mut measures = quoted.quote.measures.iter();
    measures
        .find_map(|measure| match &measure.counted {
            Counted::Sum(factor) => Some((factor.low, factor.high, factor.centre)),
            _ => None,
        })
        .unwrap_or_else(|| panic!("{sql}: nothing is summed"))
}

/// Bounds are the catalogue's, narrowed by conditions, by hand and by arithmetic; averages and
/// variances are of what is left when the middle is taken off.
#[tokio::test(flavor = "multi_thread")]
async fn bounds_follow_the_question() {
    let bench = bench().await;
    for (sql, bounds) in [
        ("SELECT SUM(mdvis) FROM visits", (0.0, 77.0, 0.0)),
        (
            "SELECT SUM(mdvis) FROM visits WHERE mdvis BETWEEN 10 AND 20",
            (10.0, 20.0, 0.0),
        ),
        (
            "SELECT SUM(m) FROM (SELECT mdvis AS m FROM visits WHERE mdvis >= 10) t WHERE m <= 30",
            (10.0, 30.0, 0.0),
        ),
        // No condition widens what is declared.
        (
            "SELECT SUM(mdvis) FROM visits WHERE mdvis BETWEEN -100 AND 1000",
            (0.0, 77.0, 0.0),
        ),
        (
            "SELECT SUM(LEAST(GREATEST(inpdol, 0), 200000)) FROM visits",
            (0.0, 200_000.0, 0.0),
        ),
        (
            "SELECT SUM(CASE WHEN mdvis <= 10 THEN mdvis ELSE 10 END) FROM visits",
            (0.0, 10.0, 0.0),
        ),
        ("SELECT SUM(mdvis * 2 - 4) FROM visits", (-4.0, 150.0, 0.0)),
        ("SELECT AVG(mdvis) FROM visits", (0.0, 77.0, 38.5)),
        (
            "SELECT AVG(mdvis) FROM visits WHERE mdvis BETWEEN 10 AND 20",
            (10.0, 20.0, 15.0),
        ),
        ("SELECT VAR_SAMP(mdvis) FROM visits", (0.0, 77.0, 38.5)),
    ] {
        assert_eq!(summed(&bench, sql), bounds, "{sql}");
    }
}

/// A person is in one group if all keys are facts of the person, else in as many as the keys and
/// the rows allow; what a request says takes off that and adds nothing.
#[tokio::test(flavor = "multi_thread")]
async fn groups_of_a_person_are_the_fewest_that_are_known() {
    let bench = bench().await;
    let node = &bench.node;
    let sensitivity = |sql: &str, most: u64| {
        let asked = wire::Question {
            max_groups_contributed: most,
            ..question(node, sql)
        };
        let quoted = Admitted::admit(node, &asked).and_then(|admitted| admitted.quote(node));
        let quoted = quoted.unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"));
        quoted.quote.noise.sensitivity()
    };
    let one = sensitivity("SELECT COUNT(DISTINCT person_id) FROM visits", 0);
    let of_person = "SELECT h, COUNT(DISTINCT t.person_id) FROM (SELECT person_id, MAX(health) AS h FROM visits GROUP BY person_id) t \
                     JOIN visits v ON t.person_id = v.person_id GROUP BY h";
    let by_sex = "SELECT female, COUNT(DISTINCT person_id) FROM visits GROUP BY female";
    let by_year = "SELECT year, COUNT(DISTINCT person_id) FROM visits GROUP BY year";
    let by_plan = "SELECT plan, COUNT(DISTINCT person_id) FROM visits GROUP BY plan";
    for (sql, groups) in [(of_person, 1u64), (by_sex, 2), (by_year, 5), (by_plan, 5)] {
        assert_eq!(sensitivity(sql, 0), groups * one, "{sql}");
        for most in [1, 2, 5, 1_000_000, u64::MAX] {
            let left = groups.min(most);
            assert_eq!(sensitivity(sql, most), left * one, "{sql}: {most}");
        }
    }
}
