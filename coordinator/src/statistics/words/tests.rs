//! What becomes of words, and which calls are refused.

use datafusion::sql::sqlparser::{dialect::GenericDialect, parser::Parser};

use super::*;

fn spelled(sql: &str) -> Result<String, Refusal> {
    let mut statements = Parser::parse_sql(&GenericDialect {}, sql).expect("sql");
    let statement = &mut statements[0];
    spell_out(statement)?;
    Ok(statement.to_string())
}

#[test]
fn words_are_spelled_out_and_keep_their_names() {
    let shown: Vec<String> = [
        "SELECT Noise_SD(n), total_low(share(a, b)) AS low FROM t",
        "SELECT dobson_high(n, p, w, 1000) FILTER (WHERE w > 0) FROM t",
        "SELECT p_value(rate_ratio(a, n, b, m)) AS p FROM t",
        "SELECT total_sd(direct_rate(n, p, w)) AS s FROM t",
        "SELECT total_high(pooled_random(rate, v)) AS high, i_squared(rate, v, 0) AS i FROM t",
    ]
    .into_iter()
    .map(|sql| spelled(sql).expect("valid"))
    .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    SELECT sqrt(__noise_variance(n)) AS "Noise_SD(n)", __total_limit(share(a, b), __low_of_share(a, b), (share(a, b) - __noise_below(share(a, b)))) AS low FROM t
    SELECT __total_limit(direct_rate(n, p, w, 1000) FILTER (WHERE w > 0), __high_of_direct_rate(n, p, w, 1000) FILTER (WHERE w > 0), (direct_rate(n, p, w, 1000) FILTER (WHERE w > 0) + __noise_above(direct_rate(n, p, w, 1000) FILTER (WHERE w > 0)))) AS "dobson_high(n, p, w, 1000) FILTER (WHERE w > 0)" FROM t
    SELECT __p_value(rate_ratio(a, n, b, m), __variance_of_rate_ratio(a, n, b, m), __noise_below(rate_ratio(a, n, b, m)), __noise_above(rate_ratio(a, n, b, m)), 1.0, 1.0) AS p FROM t
    SELECT sqrt((__variance_of_direct_rate(n, p, w) + __noise_variance(direct_rate(n, p, w)))) AS s FROM t
    SELECT __total_limit(pooled_random(rate, v, __noise_variance(rate)), __high_of_pooled_random(rate, v, __noise_variance(rate)), (pooled_random(rate, v, __noise_variance(rate)) + 0.0)) AS high, i_squared(rate, v, 0) AS i FROM t
    "#);
    let plain = "SELECT crude_rate(n, p), \"noise_sd\", count(*) FROM t";
    assert_eq!(spelled(plain).expect("valid"), plain);
    // Every word is known by its name.
    assert!(WORDS.iter().all(|word| Word::named(word).is_some()));
}

#[test]
fn calls_that_cannot_be_are_refused_by_name() {
    for (sql, part) in [
        ("SELECT direct_rate(a, b) FROM t", "is given 2 arguments"),
        (
            "SELECT direct_rate(a, b, c, 0) FROM t",
            "`per` of direct_rate",
        ),
        (
            "SELECT direct_rate(a, b, 'ESP 2013') FROM t",
            "must be a number",
        ),
        ("SELECT direct_rate(DISTINCT a, b, c) FROM t", "DISTINCT"),
        ("SELECT crude_rate(*) FROM t", "one by one"),
        ("SELECT funnel_proportion_low(1.2, n) FROM t", "from 0 to 1"),
        ("SELECT funnel_ratio_low(e, -1.96) FROM t", "greater than 0"),
        ("SELECT total_low(n) FROM t", "call of a statistic"),
        ("SELECT total_low(sum(n)) FROM t", "no statistic"),
        ("SELECT total_low(tau_squared(y, v)) FROM t", "no statistic"),
        (
            "SELECT p_value(direct_rate(a, b, c)) FROM t",
            "no difference",
        ),
        ("SELECT noise_sd() FROM t", "nothing to tell of"),
        ("SELECT noise_sd(a, b) FROM t", "one argument"),
        ("SELECT byar_low(a, b) FROM t", "`event_count` is given 2"),
        ("SELECT __noise_variance(a) FROM t", "two underscores"),
    ] {
        let refusal = spelled(sql).expect_err(sql);
        assert_eq!(refusal.code, ErrorCode::InvalidParameter);
        assert!(
            refusal.message.contains(part) || refusal.hint.contains(part),
            "{sql}: {refusal:?}"
        );
    }
}

#[test]
fn words_within_words_do_not_grow_without_end() {
    let mut sql = "n".to_owned();
    for _ in 0..14 {
        sql = format!("total_low(crude_rate({sql}, 10))");
    }
    let refusal = spelled(&format!("SELECT {sql} FROM t")).expect_err("too large");
    assert_eq!(refusal.code, ErrorCode::TooLarge);
}
