use super::*;

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a day")
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("a time")
}

fn run(week: &str, series: u32) -> Run {
    Run {
        week: day(week),
        series,
        query_id: format!("q.{week}.{series}"),
        epsilon_nano: 100_000_000,
        status: Status::Planned,
        planned: at(1_000),
        failed: 0,
        next: at(1_000),
        reason: None,
    }
}

fn stored(week: &str, value: f64, verdict: Verdict) -> StoredFigure {
    StoredFigure {
        week: day(week),
        figure: Figure {
            group: "{}".into(),
            released: Released {
                value,
                sd: 1.4,
                shape: Shape::Laplace,
            },
            low: value - 3.0,
            high: value + 3.0,
        },
        judged: Judged {
            expected: None,
            low: None,
            high: None,
            verdict,
        },
    }
}

fn alert(channel: Channel) -> Alert {
    Alert {
        key: "k".into(),
        channel,
        name: "a".into(),
        body: "{}".into(),
        raised: at(2_000),
        failed: 0,
        reason: None,
    }
}

#[test]
fn what_was_planned_is_there_after_a_crash_and_no_week_twice() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("state.sqlite");
    let mut state = State::open(&file).expect("open");
    assert_eq!(state.latest_series("a").expect("series"), None);
    state.begin_series("a", 1, "x", at(0)).expect("begun");
    state.plan("a", &run("2024-01-01", 1)).expect("planned");
    drop(state);
    let mut state = State::open(&file).expect("open");
    assert_eq!(state.runs("a").expect("runs"), [run("2024-01-01", 1)]);
    // In no series.
    assert!(state.plan("a", &run("2024-01-01", 2)).is_err());
    state
        .plan(
            "b",
            &Run {
                query_id: "other".into(),
                ..run("2024-01-01", 1)
            },
        )
        .expect("another name");
    assert!(state.begin_series("a", 1, "y", at(0)).is_err());
    assert_eq!(
        state.latest_series("a").expect("series"),
        Some((1, "x".into()))
    );
}

#[test]
fn only_one_writes_and_others_read_meanwhile() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("state.sqlite");
    assert!(State::read(&file).expect("no file").is_none());
    let mut state = State::open(&file).expect("open");
    assert!(matches!(State::open(&file), Err(StateError::InUse)));
    state.plan("a", &run("2024-01-01", 1)).expect("planned");
    let reader = State::read(&file).expect("read").expect("there");
    assert_eq!(reader.runs("a").expect("runs").len(), 1);
    drop(state);
    State::open(&file).expect("free again");
    let other = folder.path().join("other.sqlite");
    Connection::open(&other)
        .and_then(|connection| connection.execute_batch("CREATE TABLE t (x)"))
        .expect("another file");
    assert!(matches!(State::open(&other), Err(StateError::Format)));
}

#[test]
fn an_answer_is_kept_with_its_alerts_or_not_at_all() {
    let folder = tempfile::tempdir().expect("folder");
    let mut state = State::open(&folder.path().join("state.sqlite")).expect("open");
    let weeks = ["2024-01-01", "2024-01-08", "2024-01-15"];
    for (week, series) in weeks.into_iter().zip([1, 2, 2]) {
        let planned = run(week, series);
        state.plan("a", &planned).expect("planned");
        let answered = Run {
            status: Status::Answered,
            ..planned
        };
        let figures = [stored(week, f64::from(series), Verdict::Above)];
        let alerts = [alert(Channel::Webhook), alert(Channel::Mail)];
        let alerts = if week == weeks[1] { &alerts[..] } else { &[] };
        state
            .answer("a", &answered, &figures, alerts)
            .expect("kept");
    }
    assert_eq!(state.groups("a", day(weeks[1])).expect("groups"), ["{}"]);
    // Of its own series, and before the week.
    let past = |week: &str| state.past("a", 2, "{}", day(week), 26).expect("past");
    assert_eq!((past(weeks[1]).len(), past(weeks[2]).len()), (0, 1));
    assert!(past(weeks[2])[0].alarmed);
    assert_eq!(
        state
            .past("a", 2, "{}", day("2025-01-01"), 1)
            .expect("past")
            .len(),
        1
    );

    // An alert that is there already: nothing of the answer is kept.
    let fourth = run("2024-01-22", 2);
    state.plan("a", &fourth).expect("planned");
    let figures = [stored("2024-01-22", 5.0, Verdict::Above)];
    assert!(
        state
            .answer("a", &fourth, &figures, &[alert(Channel::Mail)])
            .is_err()
    );
    assert!(state.groups("a", fourth.week).expect("groups").is_empty());
}

#[test]
fn alerts_wait_until_they_are_told() {
    let folder = tempfile::tempdir().expect("folder");
    let mut state = State::open(&folder.path().join("state.sqlite")).expect("open");
    let planned = run("2024-01-01", 1);
    state.plan("a", &planned).expect("planned");
    let alerts = [alert(Channel::Mail), alert(Channel::Webhook)];
    state.answer("a", &planned, &[], &alerts).expect("kept");
    assert_eq!(state.untold(Some(at(2_000))).expect("untold"), alerts);
    assert_eq!(state.untold(Some(at(1_999))).expect("untold"), []);
    state.told(&alerts[0], at(2_001)).expect("told");
    state
        .not_told(&alerts[1], "no answer", Some(at(2_060)))
        .expect("not told");
    assert_eq!(state.untold(Some(at(2_059))).expect("untold"), []);
    assert_eq!(state.next_alert().expect("next"), Some(at(2_060)));
    let again = state.untold(Some(at(2_060))).expect("untold");
    assert_eq!((again.len(), again[0].failed), (1, 1));
    // Not tried any more, but not forgotten.
    state
        .not_told(&alerts[1], "no answer", None)
        .expect("not told");
    assert_eq!(state.next_alert().expect("next"), None);
    assert_eq!(state.untold(None).expect("untold").len(), 1);
}
