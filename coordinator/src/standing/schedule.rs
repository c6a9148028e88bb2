//! Weeks, and when each is asked. All times are UTC.

use chrono::{DateTime, Datelike as _, Days, NaiveDate, TimeDelta, Utc, Weekday};

/// The weeks of a standing question: seven days each, from the first day on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first week's first day, of any name.
    pub first: NaiveDate,
    /// How many weeks.
    pub weeks: u32,
}

/// When a week is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Days after the week's end, for data that come late.
    pub delay_days: u32,
    /// The next such day after that; any, if none is said.
    pub weekday: Option<Weekday>,
    /// From 0 to 23.
    pub hour: u32,
    /// How long all regions are waited for, before the figures of those that answer are taken.
    pub patience_hours: u32,
    /// How long a week is tried.
    pub give_up_days: u32,
}

/// The first pause after a failure.
const FIRST_PAUSE: TimeDelta = TimeDelta::minutes(1);
/// The longest.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(6);

impl Period {
    /// The first days of all weeks, in their order.
    pub fn all(self) -> impl Iterator<Item = NaiveDate> {
        (0..u64::from(self.weeks))
            .filter_map(move |week| self.first.checked_add_days(Days::new(7 * week)))
    }

    /// The last week's first day.
    #[must_use]
    pub fn last(self) -> Option<NaiveDate> {
        self.all().last()
    }
}

impl Timing {
    /// When a week that begins on this day is asked.
    #[must_use]
    pub fn due(&self, week: NaiveDate) -> DateTime<Utc> {
        // The week is over when its eighth day begins.
        let mut day = week
            .checked_add_days(Days::new(7 + u64::from(self.delay_days)))
            .unwrap_or(NaiveDate::MAX);
        if let Some(weekday) = self.weekday {
            while day.weekday() != weekday {
                match day.succ_opt() {
                    Some(next) => day = next,
                    None => break,
                }
            }
        }
        day.and_hms_opt(self.hour, 0, 0)
            .map_or(DateTime::<Utc>::MAX_UTC, |moment| moment.and_utc())
    }

    /// Whether a week that was first tried then is now asked without the regions that don't answer.
    #[must_use]
    pub fn impatient(&self, first_tried: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        now.signed_duration_since(first_tried) >= TimeDelta::hours(self.patience_hours.into())
    }

    /// Whether a week that was first tried then is not tried again.
    #[must_use]
    pub fn gives_up(&self, first_tried: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        now.signed_duration_since(first_tried) >= TimeDelta::days(self.give_up_days.into())
    }
}

/// The moment of the next attempt after so many that failed: after one minute, two, four … six hours.
#[must_use]
pub fn again(failed: u32, now: DateTime<Utc>) -> DateTime<Utc> {
    let doubled = FIRST_PAUSE * 2_i32.pow(failed.saturating_sub(1).min(10));
    now.checked_add_signed(doubled.min(LONGEST_PAUSE))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a day")
    }

    fn due(timing: &Timing, week: &str) -> String {
        timing.due(day(week)).to_rfc3339()
    }

    #[test]
    fn a_week_is_asked_when_it_is_over_and_late_data_are_in() {
        let mut timing = Timing {
            delay_days: 0,
            weekday: None,
            hour: 6,
            patience_hours: 24,
            give_up_days: 14,
        };
        // A Monday.
        assert_eq!(due(&timing, "2024-01-01"), "2024-01-08T06:00:00+00:00");
        timing.delay_days = 3;
        assert_eq!(due(&timing, "2024-01-01"), "2024-01-11T06:00:00+00:00");
        timing.weekday = Some(Weekday::Thu);
        assert_eq!(due(&timing, "2024-01-01"), "2024-01-11T06:00:00+00:00");
        timing.weekday = Some(Weekday::Wed);
        assert_eq!(due(&timing, "2024-01-01"), "2024-01-17T06:00:00+00:00");
        // Over a leap day and a year's end.
        timing.weekday = None;
        assert_eq!(due(&timing, "2024-02-22"), "2024-03-03T06:00:00+00:00");
        assert_eq!(due(&timing, "2024-12-28"), "2025-01-07T06:00:00+00:00");
    }

    #[test]
    fn weeks_follow_each_other_without_gap_or_overlap() {
        let period = Period {
            first: day("2023-12-27"),
            weeks: 60,
        };
        let weeks: Vec<NaiveDate> = period.all().collect();
        assert_eq!(weeks.len(), 60);
        assert!(
            weeks
                .windows(2)
                .all(|pair| (pair[1] - pair[0]).num_days() == 7)
        );
        assert_eq!(period.last(), weeks.last().copied());
    }

    #[test]
    fn pauses_double_up_to_six_hours() {
        let now = day("2024-01-01").and_hms_opt(0, 0, 0).expect("midnight");
        let minutes = |failed| (again(failed, now.and_utc()) - now.and_utc()).num_minutes();
        assert_eq!(
            [1, 2, 3, 9, 10, 4_000_000].map(minutes),
            [1, 2, 4, 256, 360, 360]
        );
    }

    #[test]
    fn patience_and_trying_end() {
        let timing = Timing {
            delay_days: 0,
            weekday: None,
            hour: 6,
            patience_hours: 24,
            give_up_days: 2,
        };
        let first = timing.due(day("2024-01-01"));
        let hours = |hours| first + TimeDelta::hours(hours);
        assert!(!timing.impatient(first, hours(23)) && timing.impatient(first, hours(24)));
        assert!(!timing.gives_up(first, hours(47)) && timing.gives_up(first, hours(48)));
    }
}
