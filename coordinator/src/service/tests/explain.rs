//! What is told before anything is paid.

use super::*;

#[tokio::test]
async fn columns_of_the_answer_are_expected_from_quotes_alone() {
    let nodes = two();
    let coordinator = over(&nodes);
    let sql = "EXPLAIN PRIVACY SELECT region, n, crude_rate(n, persons, 1000) AS rate, \
               1.0 * n / total AS part, n / total AS whole FROM (SELECT region, COUNT(*) AS n FROM visits GROUP BY region) t \
               JOIN (VALUES ('north', 1000.0), ('south', 4000.0)) AS p(region, persons) \
               USING (region) CROSS JOIN (SELECT COUNT(*) AS total FROM visits) AS everybody";
    let explained = coordinator
        .answer(&Question::new(sql))
        .await
        .expect("explained");
    let rows = &explained.rows;
    let text = |name: &str| {
        rows.column_by_name(name)
            .expect(name)
            .as_string::<i32>()
            .clone()
    };
    let real = |name: &str, row: usize| real(&explained, name)[row];
    let at = |column: &str| {
        (0..rows.num_rows())
            .find(|row| {
                text("region").value(*row) == "answer" && text("aggregate").value(*row) == column
            })
            .expect(column)
    };
    // ε = 1/2 for each release: Laplace of scale 10, sd 14.14, ±29.96.
    let sd = 10.0 * 2_f64.sqrt();
    let n = at("n");
    assert!((real("noise_sd", n).expect("noise_sd") / sd - 1.0).abs() < 1e-6);
    assert!(
        (real("half_width_95", n).expect("half_width_95") / (10.0 * 20_f64.ln()) - 1.0).abs()
            < 1e-6
    );
    // A rate per 1,000 of 1,000 persons at worst, of 4,000 at best; from 1,000 draws.
    let rate = at("rate");
    assert!((real("noise_sd", rate).expect("noise_sd") / sd - 1.0).abs() < 0.15);
    assert!(
        text("note")
            .value(rate)
            .starts_with("by row, noise_sd is from 3.")
    );
    // Ratios of two noisy figures, of numbers and of whole ones.
    for part in [at("part"), at("whole")] {
        assert_eq!(real("noise_sd", part), None);
        assert!(text("note").value(part).contains("hangs on the figures"));
    }
    // Of two such counts, ±z at 5 % and 80 % power, for the noise of both.
    let north = (0..rows.num_rows())
        .find(|row| text("region").value(*row) == "north")
        .expect("north");
    let difference = real("smallest_difference", north).expect("smallest_difference");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let noise = Noise::Laplace { scale: 10.0 };
    let (mut found, repeats) = (0, 40_000);
    let mut both = crate::noise::Sum::default();
    both.add(noise);
    both.add(noise);
    for _ in 0..repeats {
        let seen = difference + noise.draw(&mut rng) - noise.draw(&mut rng);
        found += u32::from(seen.abs() > both.half_width(0.95));
    }
    let power = f64::from(found) / f64::from(repeats);
    assert!((power - 0.8).abs() < 0.01, "{power}");
    // Five rows a person at most: the noise of 14.14 rows is as that of 2.83 persons.
    assert!((real("noise_persons", north).expect("noise_persons") / (sd / 5.0) - 1.0).abs() < 1e-6);
}

#[tokio::test]
async fn what_one_region_refuses_is_explained_beside_the_others() {
    let mut nodes = [
        KnownCells::new("north", &[1, 2]),
        KnownCells::new("south", &[2, 3]),
    ];
    nodes[1].refuses = Some(ErrorCode::Unsupported);
    let nodes = nodes.map(Arc::new);
    let coordinator = over(&nodes);
    let sql = "SELECT COUNT(*) AS n FROM visits";
    let explained = coordinator
        .answer(&Question::new(format!("EXPLAIN PRIVACY {sql}")))
        .await
        .expect("explained");
    let notes = explained.rows.column_by_name("note").expect("note");
    let notes: Vec<&str> = notes.as_string::<i32>().iter().flatten().collect();
    assert!(
        notes
            .iter()
            .any(|note| note.contains("refused for the test")),
        "{notes:?}"
    );
    let refusal = coordinator
        .answer(&Question::new(sql))
        .await
        .expect_err("refused");
    assert_eq!(refusal.code, ErrorCode::Unsupported);
    // Too little left is told as a refusal too.
    let nodes = two();
    *nodes[1].charged.lock().expect("lock") = 9_500_000_000;
    let explained = over(&nodes)
        .answer(&Question::new(format!("EXPLAIN PRIVACY {sql}")))
        .await
        .expect("explained");
    let notes = explained.rows.column_by_name("note").expect("note");
    let notes: Vec<&str> = notes.as_string::<i32>().iter().flatten().collect();
    assert!(
        notes.iter().any(|note| note.contains("budget_exhausted")),
        "{notes:?}"
    );
}

/// Bounds that a statement gives hold for what is explained of it; those that are to be found don't.
#[tokio::test]
async fn bounds_are_explained_as_they_will_hold() {
    let nodes = two();
    let coordinator = over(&nodes);
    let statement = |option: &str| {
        format!(
            "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS({option}) region, COUNT(*) AS n \
             FROM visits GROUP BY region ORDER BY region"
        )
    };
    for (option, rows) in [
        ("bounds = 'declared'", 5.0),
        ("max_rows_contributed = 2", 2.0),
    ] {
        let sql = statement(option);
        let explained = coordinator
            .answer(&Question::new(format!("EXPLAIN PRIVACY {sql}")))
            .await
            .expect("explained");
        let sd = real(&explained, "noise_sd")[0].expect("sd");
        assert!((sd / (rows * 2_f64.sqrt()) - 1.0).abs() < 1e-3, "{sd}");
        let persons = real(&explained, "noise_persons")[0].expect("persons");
        assert!((persons / 2_f64.sqrt() - 1.0).abs() < 1e-3, "{persons}");
        let answer = coordinator
            .answer(&Question::new(sql))
            .await
            .expect("answer");
        let answered = real(&answer, "n_sd")[0].expect("sd");
        assert!((answered / sd - 1.0).abs() < 1e-3, "{answered} {sd}");
    }
    let explained = coordinator
        .answer(&Question::new(format!(
            "EXPLAIN PRIVACY {}",
            statement("bounds = 'found'")
        )))
        .await
        .expect("explained");
    let notes = explained.rows.column_by_name("note").expect("note");
    let notes: Vec<&str> = notes.as_string::<i32>().iter().flatten().collect();
    assert!(notes[0].contains("a tenth of epsilon"), "{notes:?}");
    assert_eq!(real(&explained, "noise_sd")[0].map(f64::round), Some(7.0));
}
