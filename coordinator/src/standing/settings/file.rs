//! `[[standing]]` in the coordinator's file, read as strictly as the rest of it.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use chrono::{NaiveDate, Weekday};
use hyper::Uri;
use serde::Deserialize;
use skerry_proto::{
    Epsilon, ProjectId, Refusal,
    configuration::{ConfigError, Source},
};
use toml::Spanned;

use super::{
    super::{
        band::{BandTerms, Sides},
        schedule::{Period, Timing},
    },
    Alerts, Asks, Mail, StandingQuestion, Webhook,
};
use crate::study::{self, Given};

/// As it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    name: Spanned<String>,
    #[serde(default = "one")]
    series: Spanned<u32>,
    sql: Option<Spanned<String>>,
    study: Option<Spanned<String>>,
    #[serde(default)]
    parameters: toml::Table,
    #[serde(default = "week")]
    week_parameter: Spanned<String>,
    project: Spanned<ProjectId>,
    epsilon: Spanned<Epsilon>,
    figure: String,
    #[serde(default)]
    group_by: Vec<String>,
    week_column: Option<String>,
    from: Spanned<String>,
    weeks: Option<Spanned<u32>>,
    until: Option<Spanned<String>>,
    #[serde(default = "three")]
    delay_days: Spanned<u32>,
    ask_on: Option<Spanned<String>>,
    #[serde(default = "six")]
    ask_at_hour: Spanned<u32>,
    #[serde(default = "day")]
    patience_hours: Spanned<u32>,
    #[serde(default = "fortnight")]
    give_up_days: Spanned<u32>,
    #[serde(default)]
    band: RawBand,
    alerts: Spanned<RawAlerts>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBand {
    #[serde(default = "half_a_year")]
    history: Spanned<u32>,
    #[serde(default = "eight")]
    learning: Spanned<u32>,
    #[serde(default = "thousandth")]
    false_alarms: Spanned<f64>,
    #[serde(default)]
    sides: Sides,
}

impl Default for RawBand {
    fn default() -> Self {
        Self {
            history: half_a_year(),
            learning: eight(),
            false_alarms: thousandth(),
            sides: Sides::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAlerts {
    #[serde(default = "month")]
    within_days: Spanned<u32>,
    webhook: Option<Spanned<String>>,
    webhook_authority: Option<PathBuf>,
    mail_dir: Option<Spanned<PathBuf>>,
    mail_from: Option<Spanned<String>>,
    #[serde(default)]
    mail_to: Vec<Spanned<String>>,
}

fn spanned<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

fn one() -> Spanned<u32> {
    spanned(1)
}
fn three() -> Spanned<u32> {
    spanned(3)
}
fn six() -> Spanned<u32> {
    spanned(6)
}
fn eight() -> Spanned<u32> {
    spanned(8)
}
fn fortnight() -> Spanned<u32> {
    spanned(14)
}
fn day() -> Spanned<u32> {
    spanned(24)
}
fn half_a_year() -> Spanned<u32> {
    spanned(26)
}
fn month() -> Spanned<u32> {
    spanned(28)
}
fn thousandth() -> Spanned<f64> {
    spanned(0.001)
}
fn week() -> Spanned<String> {
    spanned("week".to_owned())
}

/// Where Debian and its kin keep whom the public web trusts.
const PUBLIC_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// With week and hash it stays a query id.
const LONGEST_NAME: usize = 32;
/// Twenty years.
const MOST_WEEKS: u32 = 1_044;

/// A question's settings, checked. `folder` is where relative paths count from.
pub(crate) fn check(
    source: &Source<'_>,
    folder: &Path,
    raw: Raw,
) -> Result<StandingQuestion, ConfigError> {
    let name = name(source, &raw.name)?;
    let period = period(source, &raw)?;
    let asks = asks(source, &raw)?;
    let between = |value: &Spanned<u32>, what: &str, range: std::ops::RangeInclusive<u32>| {
        if range.contains(value.get_ref()) {
            return Ok(*value.get_ref());
        }
        let message = format!("`{what}` must be from {} to {}", range.start(), range.end());
        Err(source.error(value.span(), message, ""))
    };
    let question = StandingQuestion {
        series: between(&raw.series, "series", 1..=1_000_000)?,
        timing: Timing {
            delay_days: between(&raw.delay_days, "delay_days", 0..=366)?,
            weekday: weekday(source, raw.ask_on.as_ref())?,
            hour: between(&raw.ask_at_hour, "ask_at_hour", 0..=23)?,
            patience_hours: between(&raw.patience_hours, "patience_hours", 0..=8_784)?,
            give_up_days: between(&raw.give_up_days, "give_up_days", 1..=366)?,
        },
        band: BandTerms {
            history: between(&raw.band.history, "history", 4..=520)?,
            learning: between(&raw.band.learning, "learning", 4..=520)?,
            false_alarms: *raw.band.false_alarms.get_ref(),
            sides: raw.band.sides,
        },
        alerts: alerts(source, folder, &raw.alerts)?,
        name,
        asks,
        week_parameter: raw.week_parameter.get_ref().clone(),
        project: raw.project.get_ref().clone(),
        epsilon: *raw.epsilon.get_ref(),
        figure: raw.figure,
        group_by: raw.group_by,
        week_column: raw.week_column,
        period,
    };
    if question.band.learning > question.band.history {
        return Err(source.error(
            raw.band.learning.span(),
            format!(
                "`learning` is {} weeks and `history` only {}",
                question.band.learning, question.band.history
            ),
            "a band is made of at most `history` weeks, and of at least `learning`",
        ));
    }
    if !(1e-6..=0.1).contains(&question.band.false_alarms) {
        return Err(source.error(
            raw.band.false_alarms.span(),
            "`false_alarms` must be from 0.000001 to 0.1",
            "0.001 is one false alarm in a thousand weeks of each group",
        ));
    }
    if question.run_epsilon().is_err() {
        return Err(source.error(
            raw.epsilon.span(),
            format!(
                "ε = {} is too little for {} weeks",
                question.epsilon.to_f64(),
                question.period.weeks
            ),
            "each week needs 0.000001 at the least",
        ));
    }
    // The first and the last week: parameters may have ranges.
    let weeks = [Some(question.period.first), question.period.last()];
    for week in weeks.into_iter().flatten() {
        question
            .sql(week)
            .map_err(|refusal| at(source, raw.name.span(), refusal))?;
    }
    Ok(question)
}

fn at(source: &Source<'_>, span: Range<usize>, refusal: Refusal) -> ConfigError {
    source.error(span, refusal.message, refusal.hint)
}

fn name(source: &Source<'_>, name: &Spanned<String>) -> Result<String, ConfigError> {
    let text = name.get_ref();
    let fits = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.len() <= LONGEST_NAME
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'));
    if fits {
        return Ok(text.clone());
    }
    Err(source.error(
        name.span(),
        format!("a standing question can't be called `{text}`"),
        format!(
            "use 1 to {LONGEST_NAME} of a-z, 0-9, `-` and `_`, starting with a letter: it becomes \
             a part of query ids"
        ),
    ))
}

fn date(source: &Source<'_>, text: &Spanned<String>) -> Result<NaiveDate, ConfigError> {
    text.get_ref().parse().map_err(|_| {
        source.error(
            text.span(),
            format!("`{}` is no day", text.get_ref()),
            "write it as \"2024-01-01\"",
        )
    })
}

fn period(source: &Source<'_>, raw: &Raw) -> Result<Period, ConfigError> {
    let first = date(source, &raw.from)?;
    let (weeks, span) = match (&raw.weeks, &raw.until) {
        (Some(weeks), None) => (i64::from(*weeks.get_ref()), weeks.span()),
        (None, Some(until)) => {
            let days = date(source, until)?.signed_duration_since(first).num_days();
            if days < 0 || days % 7 != 0 {
                return Err(source.error(
                    until.span(),
                    format!("no week that is counted from {first} begins on this day"),
                    "`until` is the first day of the last week",
                ));
            }
            (days / 7 + 1, until.span())
        }
        _ => {
            return Err(source.error(
                raw.name.span(),
                "how long is it asked?",
                "give `weeks`, their number, or `until`, the first day of the last one",
            ));
        }
    };
    match u32::try_from(weeks) {
        Ok(weeks) if (1..=MOST_WEEKS).contains(&weeks) => Ok(Period { first, weeks }),
        _ => Err(source.error(
            span,
            format!("a period has from 1 to {MOST_WEEKS} weeks"),
            "",
        )),
    }
}

fn weekday(
    source: &Source<'_>,
    text: Option<&Spanned<String>>,
) -> Result<Option<Weekday>, ConfigError> {
    text.map(|text| {
        text.get_ref().parse().map_err(|_| {
            source.error(
                text.span(),
                format!("`{}` is no day of the week", text.get_ref()),
                "write it as \"monday\"",
            )
        })
    })
    .transpose()
}

fn asks(source: &Source<'_>, raw: &Raw) -> Result<Asks, ConfigError> {
    match (&raw.sql, &raw.study) {
        (Some(sql), None) => {
            let names = study::placeholders(sql.get_ref())
                .map_err(|message| source.error(sql.span(), message, ""))?;
            let week = raw.week_parameter.get_ref();
            if let Some(other) = names.iter().find(|name| *name != week) {
                return Err(source.error(
                    sql.span(),
                    format!("`${other}` is no parameter"),
                    format!("`${week}` stands for the week's first day"),
                ));
            }
            if names.is_empty() {
                return Err(source.error(
                    sql.span(),
                    "all weeks would be asked the same",
                    format!("let `${week}` stand for the week's first day"),
                ));
            }
            if !raw.parameters.is_empty() {
                return Err(source.error(
                    sql.span(),
                    "`parameters` are a study's",
                    "write them into the SQL",
                ));
            }
            Ok(Asks::Sql(sql.get_ref().clone()))
        }
        (None, Some(study)) => {
            let found = study::find(study.get_ref())
                .map_err(|refusal| at(source, study.span(), refusal))?;
            let week = raw.week_parameter.get_ref();
            if !found.parameters.iter().any(|known| known.name == *week) {
                return Err(source.error(
                    raw.week_parameter.span(),
                    format!("study `{}` has no parameter `{week}`", study.get_ref()),
                    "`week_parameter` names the one that takes the week's first day",
                ));
            }
            let mut given = Given::default();
            for (name, value) in &raw.parameters {
                let value = match value {
                    toml::Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                given
                    .add(name, &value)
                    .map_err(|refusal| at(source, study.span(), refusal))?;
            }
            Ok(Asks::Study(study.get_ref().clone(), given))
        }
        _ => Err(source.error(
            raw.name.span(),
            "what is asked?",
            "give `study`, or `sql`, one of them",
        )),
    }
}

fn alerts(
    source: &Source<'_>,
    folder: &Path,
    alerts: &Spanned<RawAlerts>,
) -> Result<Alerts, ConfigError> {
    let raw = alerts.get_ref();
    let webhook = raw
        .webhook
        .as_ref()
        .map(|url| webhook(source, folder, url, raw.webhook_authority.as_deref()))
        .transpose()?;
    let mail = raw
        .mail_dir
        .as_ref()
        .map(|place| {
            let from = raw.mail_from.as_ref().ok_or_else(|| {
                source.error(place.span(), "who are the mails from?", "give `mail_from`")
            })?;
            if raw.mail_to.is_empty() {
                return Err(source.error(
                    place.span(),
                    "who are the mails to?",
                    "give `mail_to`, a list",
                ));
            }
            Ok(Mail {
                folder: folder.join(place.get_ref()),
                from: address(source, from)?,
                to: raw
                    .mail_to
                    .iter()
                    .map(|to| address(source, to))
                    .collect::<Result<_, _>>()?,
            })
        })
        .transpose()?;
    if webhook.is_none() && mail.is_none() {
        return Err(source.error(
            alerts.span(),
            "nobody would be told",
            "give `webhook`, or `mail_dir` with `mail_from` and `mail_to`",
        ));
    }
    let within_days = *raw.within_days.get_ref();
    if within_days == 0 {
        return Err(source.error(
            raw.within_days.span(),
            "`within_days` must be at least 1",
            "",
        ));
    }
    Ok(Alerts {
        within_days,
        webhook,
        mail,
    })
}

fn webhook(
    source: &Source<'_>,
    folder: &Path,
    url: &Spanned<String>,
    authority: Option<&Path>,
) -> Result<Webhook, ConfigError> {
    let parsed: Option<Uri> = url.get_ref().parse().ok();
    let usable = parsed.filter(|url| {
        matches!(url.scheme_str(), Some("http" | "https"))
            && url
                .authority()
                .is_some_and(|authority| !authority.as_str().contains('@'))
    });
    let Some(parsed) = usable else {
        return Err(source.error(
            url.span(),
            "`webhook` is no address of a web service",
            "write it as \"https://host/path\", without a user's name",
        ));
    };
    let authority = folder.join(authority.unwrap_or(Path::new(PUBLIC_AUTHORITIES)));
    Ok(Webhook {
        url: parsed,
        authority,
    })
}

/// An address that can stand in a header as it is.
fn address(source: &Source<'_>, text: &Spanned<String>) -> Result<String, ConfigError> {
    let address = text.get_ref();
    let fits = address.contains('@')
        && address.len() <= 254
        && address
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, ',' | ';' | '<' | '>' | '"' | '(' | ')'));
    if fits {
        return Ok(address.clone());
    }
    Err(source.error(
        text.span(),
        format!("`{}` is no address", address.escape_debug()),
        "write it as \"name@host\", in ASCII",
    ))
}
