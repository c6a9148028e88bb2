//! What is counted is what the engine itself would count.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_vector_before_noise_is_the_exact_answer() {
    let bench = bench().await;
    let questions = [
        ("SELECT COUNT(*) FROM visits", 0),
        (
            "SELECT COUNT(DISTINCT person_id) FROM visits WHERE totadm > 0",
            0,
        ),
        (
            "SELECT plan, COUNT(*), SUM(mdvis), AVG(mdvis) FROM visits GROUP BY plan",
            1,
        ),
        (
            "SELECT year, health, COUNT(educdec), SUM(meddol) FROM visits WHERE age BETWEEN 18 AND 64.5 GROUP BY year, health",
            2,
        ),
        (
            "SELECT CASE WHEN plan = 11 THEN 'free' ELSE 'shared' END, COUNT(DISTINCT person_id) FROM visits GROUP BY 1",
            1,
        ),
        (
            "SELECT kind, SUM(mdvis) FROM visits JOIN plans ON visits.plan = plans.plan GROUP BY kind",
            1,
        ),
        (
            "SELECT SUM(LEAST(GREATEST(inpdol, 0), 50000)) FROM visits",
            0,
        ),
        (
            "SELECT COUNT(*) FILTER (WHERE female = 1), SUM(CASE WHEN health = 'poor' THEN mdvis END) FROM visits",
            0,
        ),
        (
            "SELECT COUNT(*) FROM (SELECT person_id, SUM(mdvis) AS v FROM visits GROUP BY person_id) t WHERE v >= 20",
            0,
        ),
        (
            "SELECT AVG(LEAST(v, 300)) FROM (SELECT person_id, SUM(mdvis) AS v FROM visits GROUP BY person_id) t",
            0,
        ),
        (
            "SELECT COUNT(*) FROM visits a WHERE EXISTS (SELECT 1 FROM visits b WHERE b.person_id = a.person_id AND b.totadm > a.totadm)",
            0,
        ),
        (
            "SELECT COUNT(*) FROM visits a JOIN visits b ON a.person_id = b.person_id AND b.year = a.year + 1",
            0,
        ),
        (
            "SELECT a.year / 2 * 2, COUNT(*) FROM visits a LEFT JOIN (SELECT person_id, MAX(totadm) m FROM visits WHERE totadm > 1 GROUP BY person_id) b ON a.person_id = b.person_id WHERE b.m IS NULL GROUP BY 1",
            1,
        ),
        (
            "SELECT SUM(mdvis + mdvis) FROM (SELECT person_id, mdvis FROM visits WHERE year = 1 UNION ALL SELECT person_id, mdvis FROM visits WHERE year > 1) u",
            0,
        ),
        (
            "SELECT SUM(mdvis % 7), SUM(mdvis / 2), SUM(ROUND(meddol)) FROM visits WHERE health LIKE '%oo%' AND NOT (plan IN (11, 13) OR year <> 1)",
            0,
        ),
    ];
    for (sql, keys) in questions {
        agrees(&bench, sql, keys).await;
    }
}

/// Keys whose conditions range over what isn't public, or over too much.
#[tokio::test(flavor = "multi_thread")]
async fn bands_and_counts_are_group_keys() {
    let bench = bench().await;
    let questions = [
        (
            "SELECT CASE WHEN inpdol > 1000 THEN 'costly' WHEN inpdol > 100 THEN 'middling' ELSE 'cheap' END, COUNT(*), SUM(mdvis) FROM visits GROUP BY 1",
            1,
        ),
        (
            "SELECT COALESCE(CASE WHEN inpdol * meddol > age THEN health END, 'none'), COUNT(DISTINCT person_id) FROM visits GROUP BY 1",
            1,
        ),
        (
            "SELECT totadm > 0 AND inpdol > 500, COUNT(*) FROM visits GROUP BY 1",
            1,
        ),
        (
            "SELECT n, COUNT(*) FROM (SELECT person_id, COUNT(*) AS n FROM visits WHERE mdvis > 2 GROUP BY person_id) t GROUP BY n",
            1,
        ),
        (
            "SELECT LEAST(t.s, 10), p.y, COUNT(*) FROM (SELECT person_id, SUM(totadm) AS s FROM visits GROUP BY person_id) t \
             JOIN (SELECT person_id, MIN(year) AS y FROM visits GROUP BY person_id) p ON t.person_id = p.person_id GROUP BY 1, 2",
            2,
        ),
        (
            "SELECT h, COUNT(*) FROM (SELECT person_id, MAX(health) AS h FROM visits GROUP BY person_id) t GROUP BY h",
            1,
        ),
    ];
    for (sql, keys) in questions {
        agrees(&bench, sql, keys).await;
    }
}

/// Window functions over each person's rows, in all their parts.
#[tokio::test(flavor = "multi_thread")]
async fn windows_of_a_person_are_exact() {
    let bench = bench().await;
    let questions = [
        // The first year of each person.
        (
            "SELECT health, COUNT(*), SUM(mdvis) FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY year) AS n FROM visits) t WHERE n = 1 GROUP BY health",
            1,
        ),
        (
            "SELECT year, COUNT(*) FROM (SELECT year FROM visits QUALIFY ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY mdvis DESC, year) = 1) t GROUP BY year",
            1,
        ),
        (
            "SELECT n, COUNT(*), SUM(mdvis) FROM (SELECT mdvis, RANK() OVER (PARTITION BY person_id ORDER BY mdvis DESC NULLS LAST) AS n FROM visits) t GROUP BY n",
            1,
        ),
        (
            "SELECT n, COUNT(*) FROM (SELECT DENSE_RANK() OVER (PARTITION BY person_id, plan ORDER BY totadm) AS n FROM visits) t GROUP BY n",
            1,
        ),
        // Change from one year to the next.
        (
            "SELECT year, SUM(mdvis - before), COUNT(before), COUNT(*) FROM (SELECT year, mdvis, LAG(mdvis) OVER (PARTITION BY person_id ORDER BY year) AS before FROM visits) t GROUP BY year",
            1,
        ),
        (
            "SELECT SUM(LEAST(d, 50)) FROM (SELECT ABS(LEAD(mdvis, 2, 0) OVER (PARTITION BY person_id ORDER BY year DESC) - mdvis) AS d FROM visits) t",
            0,
        ),
        // Running totals, and the year that a person passed ten visits.
        (
            "SELECT year, COUNT(*) FROM (SELECT year, mdvis, SUM(mdvis) OVER (PARTITION BY person_id ORDER BY year) AS total FROM visits) t WHERE total >= 10 AND total - mdvis < 10 GROUP BY year",
            1,
        ),
        (
            "SELECT SUM(LEAST(m, 1000)), AVG(LEAST(a, 1000)), SUM(c) FROM (SELECT MAX(meddol) OVER w AS m, AVG(meddol) OVER w AS a, COUNT(*) OVER w AS c FROM visits WINDOW w AS (PARTITION BY person_id ORDER BY year ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)) t",
            0,
        ),
        (
            "SELECT SUM(c), SUM(s) FROM (SELECT COUNT(*) FILTER (WHERE mdvis > 3) OVER (PARTITION BY person_id ORDER BY year RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS c, SUM(totadm) OVER (PARTITION BY person_id ORDER BY year DESC RANGE BETWEEN 2 PRECEDING AND 1 PRECEDING) AS s FROM visits) t",
            0,
        ),
        // Facts of the person beside each row.
        (
            "SELECT n, COUNT(DISTINCT person_id), SUM(mdvis) FROM (SELECT person_id, mdvis, COUNT(*) OVER (PARTITION BY person_id) AS n FROM visits) t GROUP BY n",
            1,
        ),
        (
            "SELECT h, COUNT(*) FROM (SELECT FIRST_VALUE(health) OVER (PARTITION BY person_id ORDER BY year) AS h FROM visits) t GROUP BY h",
            1,
        ),
        (
            "SELECT h, COUNT(*) FROM (SELECT LAST_VALUE(health) OVER (PARTITION BY person_id ORDER BY year ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS h FROM visits) t GROUP BY h",
            1,
        ),
        // Windows over windows, and over aggregates of each person.
        (
            "SELECT g, COUNT(*) FROM (SELECT SUM(CASE WHEN fresh THEN 1 ELSE 0 END) OVER (PARTITION BY person_id ORDER BY year) AS g FROM (SELECT person_id, year, mdvis > LAG(mdvis, 1, 0) OVER (PARTITION BY person_id ORDER BY year) AS fresh FROM visits) t) u GROUP BY g",
            1,
        ),
        (
            "SELECT COUNT(*) FROM (SELECT person_id, plan, SUM(mdvis) AS m, MAX(SUM(mdvis)) OVER (PARTITION BY person_id) AS most FROM visits GROUP BY person_id, plan) t WHERE m = most",
            0,
        ),
    ];
    for (sql, keys) in questions {
        agrees(&bench, sql, keys).await;
    }
}

/// What is asked of each person's rows before persons are counted.
#[tokio::test(flavor = "multi_thread")]
async fn aggregates_of_a_person_are_exact() {
    let bench = bench().await;
    let questions = [
        (
            "SELECT COUNT(*), COUNT(DISTINCT person_id) FROM (SELECT DISTINCT person_id, health FROM visits) t",
            0,
        ),
        (
            "SELECT health, COUNT(*) FROM (SELECT DISTINCT person_id, health, plan FROM visits) t GROUP BY health",
            1,
        ),
        (
            "SELECT health, year, COUNT(*) FROM (SELECT DISTINCT ON (person_id) person_id, health, year FROM visits ORDER BY person_id, year DESC) t GROUP BY health, year",
            2,
        ),
        (
            "SELECT COUNT(*) FROM (SELECT DISTINCT ON (person_id) person_id, mdvis FROM visits ORDER BY person_id, year) t JOIN visits v ON v.person_id = t.person_id WHERE v.mdvis > t.mdvis",
            0,
        ),
        (
            "SELECT sick, d, COUNT(*) FROM (SELECT person_id, BOOL_OR(totadm > 1) AS sick, COUNT(DISTINCT health) AS d FROM visits GROUP BY person_id) t GROUP BY sick, d",
            2,
        ),
        (
            "SELECT a, COUNT(*), SUM(s) FROM (SELECT person_id, BOOL_AND(mdvis > 0) FILTER (WHERE year > 1) AS a, SUM(mdvis) FILTER (WHERE health = 'poor') AS s FROM visits GROUP BY person_id) t GROUP BY a",
            1,
        ),
        (
            "SELECT f, l, COUNT(*) FROM (SELECT person_id, FIRST_VALUE(health ORDER BY year) AS f, LAST_VALUE(health ORDER BY year) AS l FROM visits GROUP BY person_id) t GROUP BY f, l",
            2,
        ),
        (
            "SELECT f, COUNT(*), SUM(y) FROM (SELECT person_id, FIRST_VALUE(health ORDER BY mdvis DESC, year) FILTER (WHERE totadm > 0) AS f, MIN(year) FILTER (WHERE totadm > 0) AS y FROM visits GROUP BY person_id) t WHERE y IS NOT NULL GROUP BY f",
            1,
        ),
        // From the first year to the first admission.
        (
            "SELECT d, COUNT(*) FROM (SELECT a.person_id, MIN(b.year) - MIN(a.year) AS d FROM visits a JOIN visits b ON a.person_id = b.person_id AND b.totadm > 0 GROUP BY a.person_id) t GROUP BY d",
            1,
        ),
    ];
    for (sql, keys) in questions {
        agrees(&bench, sql, keys).await;
    }
}

/// Conditions on other rows and tables: EXISTS and IN, wherever they stand.
#[tokio::test(flavor = "multi_thread")]
async fn matches_are_exact() {
    let bench = bench().await;
    let questions = [
        (
            "SELECT plan, COUNT(*) FROM visits WHERE plan IN (SELECT plan FROM plans WHERE kind = 'free') GROUP BY plan",
            1,
        ),
        (
            "SELECT plan, COUNT(*) FROM visits WHERE plan NOT IN (SELECT plan FROM plans WHERE kind = 'free') GROUP BY plan",
            1,
        ),
        (
            "SELECT COUNT(*) FROM visits v WHERE EXISTS (SELECT 1 FROM plans p WHERE p.plan = v.plan AND p.plan > v.year)",
            0,
        ),
        (
            "SELECT COUNT(*) FROM visits v WHERE NOT EXISTS (SELECT 1 FROM plans p WHERE p.plan = v.plan AND p.kind = 'free') AND mdvis > 2",
            0,
        ),
        (
            "SELECT COUNT(*) FROM visits v WHERE mdvis > 20 OR EXISTS (SELECT 1 FROM visits w WHERE w.person_id = v.person_id AND w.totadm > 1)",
            0,
        ),
        (
            "SELECT COUNT(*) FROM visits v WHERE mdvis > 20 OR NOT EXISTS (SELECT 1 FROM visits w WHERE w.person_id = v.person_id AND w.year > v.year) OR plan IN (SELECT plan FROM plans WHERE kind = 'free')",
            0,
        ),
        (
            "SELECT COUNT(DISTINCT person_id) FROM visits WHERE person_id IN (SELECT person_id FROM visits WHERE totadm > 2) OR person_id IN (SELECT person_id FROM visits GROUP BY person_id HAVING SUM(mdvis) > 60)",
            0,
        ),
        // Persons for whom a left join finds nothing.
        (
            "SELECT COUNT(*), COUNT(DISTINCT a.person_id), COUNT(DISTINCT b.person_id), COUNT(b.person_id) FROM visits a LEFT JOIN (SELECT * FROM visits WHERE totadm > 1) b ON a.person_id = b.person_id AND a.year = b.year",
            0,
        ),
        (
            "SELECT CASE WHEN b.person_id IS NULL THEN 'never' ELSE 'ever' END, COUNT(*), COUNT(DISTINCT a.person_id) FROM visits a LEFT JOIN (SELECT DISTINCT person_id FROM visits WHERE totadm > 1) b ON a.person_id = b.person_id GROUP BY 1",
            1,
        ),
        (
            "SELECT COUNT(*), COUNT(DISTINCT c.person_id) FROM visits a LEFT JOIN (SELECT * FROM visits WHERE totadm > 1) b ON a.person_id = b.person_id AND a.year = b.year LEFT JOIN visits c ON c.person_id = b.person_id AND c.year < a.year",
            0,
        ),
        (
            "SELECT COUNT(*) FROM (SELECT b.person_id, COUNT(*) AS n FROM visits a LEFT JOIN (SELECT * FROM visits WHERE totadm > 1) b ON a.person_id = b.person_id WHERE b.person_id IS NOT NULL GROUP BY b.person_id) t WHERE n > 3",
            0,
        ),
        (
            "SELECT COUNT(*) FROM (SELECT person_id FROM visits WHERE totadm > 0 INTERSECT SELECT person_id FROM visits WHERE mdvis > 10) t",
            0,
        ),
    ];
    for (sql, keys) in questions {
        agrees(&bench, sql, keys).await;
    }
}

/// Branches of a union that carry different hidden columns don't run into each other.
#[tokio::test(flavor = "multi_thread")]
async fn a_union_goes_by_the_columns_that_are_asked() {
    let bench = bench().await;
    agrees(
        &bench,
        "SELECT SUM(m) FROM (SELECT a.person_id, a.mdvis AS m FROM visits a JOIN visits b \
         ON a.person_id = b.person_id AND a.year = b.year UNION ALL \
         SELECT person_id, totadm AS m FROM visits) t",
        0,
    )
    .await;
}
