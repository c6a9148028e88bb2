//! An accuracy in place of an ε.

use super::*;

fn asked(sql: &str, accuracy: &str) -> Question {
    Question {
        accuracy: accuracy.parse().ok(),
        ..Question::new(sql)
    }
}

const BY_REGION: &str = "SELECT region, COUNT(*) AS n FROM visits GROUP BY region ORDER BY region";

#[tokio::test]
async fn the_least_epsilon_that_is_accurate_enough_is_spent() {
    for accuracy in ["±6", "±25", "±400", "±5% of 500", "10 persons"] {
        let nodes = two();
        let target = match accuracy {
            "±6" => 6.0,
            "±400" => 400.0,
            "10 persons" => 10.0,
            _ => 25.0,
        };
        let answer = over(&nodes)
            .answer(&asked(BY_REGION, accuracy))
            .await
            .expect("answer");
        // A region's count has Laplace noise of scale 5/ε, within 5 ln 20 / ε in 95 %.
        let least = 5.0 * 20_f64.ln() / target;
        let epsilon = answer.record.privacy.epsilon;
        assert!(
            (least * 0.999..=least * 1.05).contains(&epsilon),
            "{accuracy}: {epsilon} {least}"
        );
        // Whole numbers are rounded outwards.
        for (low, high) in whole(&answer, "n_low")
            .into_iter()
            .zip(whole(&answer, "n_high"))
        {
            assert!(
                high - low <= 2 * target as i64 + 2,
                "{accuracy}: {low} {high}"
            );
        }
    }
    // A total has the noise of both regions: P(|X| > x) = (1 + x/2b) exp(−x/b) for two alike.
    let nodes = two();
    let answer = over(&nodes)
        .answer(&asked("SELECT COUNT(*) AS n FROM visits", "±25"))
        .await
        .expect("answer");
    let epsilon = answer.record.privacy.epsilon;
    let beyond = |epsilon: f64| {
        let x = 25.0 * epsilon / 5.0;
        (1.0 + x / 2.0) * (-x).exp()
    };
    assert!(
        beyond(epsilon) <= 0.05 && beyond(epsilon / 1.05) > 0.05,
        "{epsilon}"
    );
}

#[tokio::test]
async fn what_is_promised_is_met() {
    let repeats = 300;
    let mut met = 0;
    for _ in 0..repeats {
        let nodes = two();
        let answer = over(&nodes)
            .answer(&asked(BY_REGION, "±40"))
            .await
            .expect("answer");
        met += whole(&answer, "n")
            .iter()
            .filter(|n| (**n - 20_000).abs() <= 40)
            .count();
    }
    // 600 figures at 0.95: four standard errors are 0.036.
    let rate = f64::from(u32::try_from(met).expect("small")) / f64::from(2 * repeats);
    assert!(rate > 0.914, "{rate}");
}

#[tokio::test]
async fn a_part_of_the_figures_themselves_takes_a_look_first() {
    let repeats = 60;
    let (mut met, mut spent) = (0, 0.0);
    for _ in 0..repeats {
        let nodes = two();
        let answer = over(&nodes)
            .answer(&asked(BY_REGION, "±5%"))
            .await
            .expect("answer");
        met += whole(&answer, "n")
            .iter()
            .filter(|n| (**n - 20_000).abs() <= 1_000)
            .count();
        spent += answer.record.privacy.epsilon;
        // What the record says is what was charged, looks and all.
        let charged = *nodes[0].charged.lock().expect("lock") as f64 / 1e9;
        assert!((charged - answer.record.privacy.epsilon).abs() < 1e-6);
    }
    // 120 figures at 0.95: four standard errors are 0.08.
    let rate = f64::from(u32::try_from(met).expect("small")) / f64::from(2 * repeats);
    assert!(rate > 0.87, "{rate}");
    let least = 5.0 * 20_f64.ln() / 1_000.0;
    let mean = spent / f64::from(repeats);
    assert!((1.1 * least..1.8 * least).contains(&mean), "{mean} {least}");
}

#[tokio::test]
async fn what_is_out_of_reach_says_what_is_reachable_and_costs_nothing() {
    let nodes = two();
    let coordinator = over(&nodes);
    *nodes[1].charged.lock().expect("lock") = 9_000_000_000;
    let refusal = coordinator
        .answer(&asked(BY_REGION, "±3"))
        .await
        .expect_err("too accurate");
    assert_eq!(refusal.code, ErrorCode::BudgetExhausted);
    // 5 ln 20 / 3 is 4.993, and a little more is taken; with 1 left ±14.98 is reachable.
    assert!(
        refusal.message.contains("an epsilon of 5.01"),
        "{refusal:?}"
    );
    assert!(
        refusal
            .message
            .contains("what region `south` has left allows 1:"),
        "{refusal:?}"
    );
    assert!(
        refusal.message.contains("±15.0 is reachable"),
        "{refusal:?}"
    );
    let capped = Question {
        epsilon: Epsilon::try_from(0.1).ok(),
        ..asked(BY_REGION, "±25")
    };
    let refusal = coordinator.answer(&capped).await.expect_err("too dear");
    assert!(
        refusal.message.contains("at most 0.1 may be spent"),
        "{refusal:?}"
    );
    let enough = Question {
        epsilon: Epsilon::try_from(0.1).ok(),
        ..asked(BY_REGION, "±200")
    };
    assert_eq!(*nodes[0].charged.lock().expect("lock"), 0);
    coordinator.answer(&enough).await.expect("answer");
    for (sql, accuracy) in [
        ("SELECT AVG(cost) AS c FROM visits", "±5"),
        (
            "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(bounds = 'found') COUNT(*) AS n FROM visits",
            "±5",
        ),
        (
            "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(accuracy = 7) COUNT(*) AS n FROM visits",
            "±5",
        ),
        ("EXPLAIN PRIVACY SELECT COUNT(*) AS n FROM visits", "±5%"),
    ] {
        let refusal = coordinator
            .answer(&asked(sql, accuracy))
            .await
            .expect_err(sql);
        assert_eq!(refusal.code, ErrorCode::InvalidParameter, "{refusal:?}");
    }
}

/// Gaussian noise falls as 1/ε where ε is small and as 1/√ε where it is large: the search comes as
/// close in both.
#[tokio::test]
async fn the_least_is_found_whatever_the_noise() {
    let delta = 1e-6;
    for target in ["0.7", "3", "11.5", "40", "90", "700", "30000"] {
        let nodes = two();
        let question = Question {
            delta: Delta::try_from(delta).ok(),
            ..asked(&format!("EXPLAIN PRIVACY {BY_REGION}"), target)
        };
        for node in &nodes {
            *node.budget.lock().expect("lock") = 1_000_000_000_000;
        }
        let explained = over(&nodes).answer(&question).await.expect(target);
        let epsilon = real(&explained, "epsilon")[0].expect("epsilon");
        let half_width: f64 = target.parse().expect("number");
        let sigma = half_width / 1.959_964;
        let s = 5.0 / sigma;
        let least = s * s / 2.0 + s * (2.0 * (1.0 / delta).ln()).sqrt();
        assert!(
            (least * 0.999..=least * 1.05).contains(&epsilon),
            "{target}: {epsilon} {least}"
        );
    }
}

#[tokio::test]
async fn a_figure_that_is_too_small_is_found_out_with_a_part_of_what_is_left() {
    let nodes = two();
    let none = [
        Arc::new(KnownCells::new("north", &[1])),
        Arc::new(KnownCells::new("south", &[2])),
    ];
    for node in &none {
        *node.rows.lock().expect("lock") = 0.0;
    }
    let refusal = over(&none)
        .answer(&asked(BY_REGION, "±5%"))
        .await
        .expect_err("nobody");
    assert!(refusal.message.contains("too small"), "{refusal:?}");
    // A look takes at most a tenth of what is left, and all before it a third of that.
    let charged = *none[0].charged.lock().expect("lock");
    assert!(charged > 0 && charged <= 1_334_000_000, "{charged}");
    let told = format!("took an epsilon of {:.3}", charged as f64 / 1e9);
    assert!(refusal.hint.contains(&told), "{refusal:?} {charged}");
    // With a cap of its own it costs in proportion.
    let capped = Question {
        epsilon: Epsilon::try_from(0.1).ok(),
        ..asked(BY_REGION, "±5%")
    };
    over(&nodes).answer(&capped).await.expect("large enough");
    let charged = *nodes[0].charged.lock().expect("lock");
    assert!(charged <= 100_000_000, "{charged}");
}

/// What is paid for is kept: the search doesn't hang on what is left by then.
#[tokio::test]
async fn a_retry_is_answered_from_what_is_stored() {
    let nodes = two();
    let coordinator = over(&nodes);
    let question = Question {
        query_id: "once".parse().ok(),
        ..asked(BY_REGION, "±2")
    };
    let answer = coordinator.answer(&question).await.expect("answer");
    let charged = *nodes[0].charged.lock().expect("lock");
    assert!(charged > 5_000_000_000, "{charged}");
    let again = coordinator.answer(&question).await.expect("again");
    assert_eq!(again.rows.columns(), answer.rows.columns());
    assert_eq!(*nodes[0].charged.lock().expect("lock"), charged);
    let other = Question {
        query_id: "twice".parse().ok(),
        ..question
    };
    let refusal = coordinator.answer(&other).await.expect_err("too little");
    assert!(refusal.message.contains("is reachable"), "{refusal:?}");
}

/// A region pays for its own releases of a statement.
#[tokio::test]
async fn each_regions_cap_holds_for_what_it_is_asked() {
    let nodes = two();
    *nodes[1].charged.lock().expect("lock") = 9_000_000_000;
    let apart = "SELECT COUNT(*) AS n FROM visits WHERE region = 'north' \
                 UNION ALL SELECT COUNT(*) AS n FROM visits WHERE region = 'south'";
    let answer = over(&nodes).answer(&asked(apart, "±17")).await;
    let epsilon = answer.expect("0.88 each").record.privacy.epsilon;
    assert!((epsilon / (2.0 * 5.0 * 20_f64.ln() / 17.0) - 1.0).abs() < 0.05);
    let nodes = two();
    *nodes[1].charged.lock().expect("lock") = 9_000_000_000;
    let refusal = over(&nodes)
        .answer(&asked(apart, "±12"))
        .await
        .expect_err("1.25 each");
    assert!(refusal.message.contains("allows 2:"), "{refusal:?}");
}

#[tokio::test]
async fn what_cannot_be_computed_is_refused_before_sizes_are_looked_for() {
    let nodes = two();
    let sql = "SELECT site, COUNT(*) AS n, CAST('x' || site AS BIGINT) AS bad FROM visits \
               GROUP BY site";
    let refusal = over(&nodes).answer(&asked(sql, "±5%")).await;
    assert!(refusal.is_err(), "{refusal:?}");
    assert_eq!(*nodes[0].charged.lock().expect("lock"), 0);
}

#[tokio::test]
async fn an_explanation_says_what_an_accuracy_costs() {
    let nodes = two();
    let explained = over(&nodes)
        .answer(&asked(&format!("EXPLAIN PRIVACY {BY_REGION}"), "±25"))
        .await
        .expect("explained");
    let epsilon = real(&explained, "epsilon")[0].expect("epsilon");
    let least = 5.0 * 20_f64.ln() / 25.0;
    assert!((epsilon / least - 1.0).abs() < 0.05);
    assert_eq!(*nodes[0].charged.lock().expect("lock"), 0);
}
