//! Dates of the proleptic Gregorian calendar, years 1 to 9999, as days since 1970-01-01.

use super::DateUnit;

/// Microseconds in a day.
pub const MICROSECONDS_A_DAY: i64 = 86_400_000_000;

/// 0001-01-01 and 9999-12-31.
pub const DAYS: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;

/// Year, month, day of a day count. Source: H. Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`.
fn civil(day: i32) -> Option<(i32, u32, u32)> {
    if !DAYS.contains(&day) {
        return None;
    }
    let z = day + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i32::from(month <= 2);
    Some((year, month as u32, day_of_month as u32))
}

/// The day count of a date that exists. Source: as above, `days_from_civil`.
fn days(year: i32, month: u32, day: u32) -> Option<i32> {
    if !(1..=9_999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    if day == 0 || day > last_of_month(year, month) {
        return None;
    }
    let shifted_year = year - i32::from(month <= 2);
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let shifted_month = (month as i32 + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day as i32 - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

fn last_of_month(year: i32, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The day of `YYYY-MM-DD`.
#[must_use]
pub fn parse(text: &str) -> Option<i32> {
    let mut parts = text.trim().splitn(3, '-');
    let mut part = |length: usize| {
        parts
            .next()
            .filter(|digits| digits.len() == length && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    days(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
}

/// `YYYY-MM-DD`.
#[must_use]
pub fn format(day: i32) -> Option<String> {
    civil(day).map(|(year, month, day)| format!("{year:04}-{month:02}-{day:02}"))
}

/// The day in which a moment lies.
pub(super) fn day_of(moment: i64) -> Option<i32> {
    i32::try_from(moment.div_euclid(MICROSECONDS_A_DAY)).ok()
}

/// The moment at which a day starts.
pub(crate) fn midnight(day: i32) -> i64 {
    i64::from(day) * MICROSECONDS_A_DAY
}

/// A part of a date.
pub(crate) fn part(unit: DateUnit, day: i32) -> Option<i64> {
    let (year, month, day_of_month) = civil(day)?;
    let day_of_year = |day: i32, year: i32| days(year, 1, 1).map(|first| day - first + 1);
    Some(match unit {
        DateUnit::Year => i64::from(year),
        DateUnit::Quarter => i64::from((month - 1) / 3 + 1),
        DateUnit::Month => i64::from(month),
        DateUnit::Day => i64::from(day_of_month),
        // 1970-01-01 was a Thursday.
        DateUnit::DayOfWeek => i64::from((day + 4).rem_euclid(7)),
        DateUnit::DayOfYear => i64::from(day_of_year(day, year)?),
        DateUnit::Week => {
            // The ISO week is that of its Thursday.
            let thursday = day - (day + 3).rem_euclid(7) + 3;
            let (year, _, _) = civil(thursday)?;
            i64::from((day_of_year(thursday, year)? - 1) / 7 + 1)
        }
    })
}

/// The first day of the unit in which a day lies.
pub(crate) fn truncate(unit: DateUnit, day: i32) -> Option<i32> {
    let (year, month, _) = civil(day)?;
    match unit {
        DateUnit::Year => days(year, 1, 1),
        DateUnit::Quarter => days(year, (month - 1) / 3 * 3 + 1, 1),
        DateUnit::Month => days(year, month, 1),
        DateUnit::Week => Some(day - (day + 3).rem_euclid(7)),
        DateUnit::Day => Some(day),
        DateUnit::DayOfWeek | DateUnit::DayOfYear => None,
    }
}

/// Months first, the day cut to the month's last, then days.
pub(crate) fn add(day: i32, months: i32, more_days: i32) -> Option<i32> {
    let (year, month, day_of_month) = civil(day)?;
    let index = (year * 12 + month as i32 - 1).checked_add(months)?;
    let (year, month) = (index.div_euclid(12), index.rem_euclid(12) as u32 + 1);
    let moved = days(year, month, day_of_month.min(last_of_month(year, month)))?;
    moved
        .checked_add(more_days)
        .filter(|day| DAYS.contains(day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        assert_eq!(parse("1970-01-01"), Some(0));
        assert_eq!(parse("2024-02-29"), Some(19_782));
        assert_eq!(parse("2023-02-29"), None);
        assert_eq!(format(19_782).as_deref(), Some("2024-02-29"));
        assert_eq!(part(DateUnit::Week, 19_782), Some(9));
        assert_eq!(part(DateUnit::DayOfWeek, 19_782), Some(4));
        assert_eq!(add(19_782, 12, 0), parse("2025-02-28"));
        assert_eq!(part(DateUnit::Week, parse("2021-01-03").unwrap()), Some(53));
    }

    #[test]
    fn every_day_survives_the_way_there_and_back() {
        for day in DAYS.step_by(11) {
            let (year, month, of_month) = civil(day).unwrap();
            assert_eq!(days(year, month, of_month), Some(day));
        }
        assert_eq!(civil(*DAYS.end() + 1), None);
    }
}
