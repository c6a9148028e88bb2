//! What an alert says: the week, the group, the noisy figure with its interval, what was expected
//! and the band. Nothing else: no SQL, no query id, no address.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};

use super::{
    band::Verdict,
    settings::Mail,
    state::{Figure, StoredFigure},
};

/// An alert's contents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Message {
    /// The same at each attempt, and of no other alert.
    pub id: String,
    /// The standing question.
    pub standing: String,
    /// The week's first day.
    pub week: String,
    /// Columns and values.
    pub group: Map<String, Json>,
    /// Which figure.
    pub column: String,
    /// As released, with noise.
    pub figure: f64,
    /// Of its 95 % interval.
    pub figure_low: f64,
    /// Of its 95 % interval.
    pub figure_high: f64,
    /// The mean of the weeks before.
    pub expected: f64,
    /// Of the band, if it has a lower end.
    pub band_low: Option<f64>,
    /// Of the band.
    pub band_high: f64,
    /// Where the figure is.
    pub verdict: Verdict,
}

impl Message {
    /// Of a figure, if it is outside its band.
    pub fn of(standing: &str, column: &str, stored: &StoredFigure) -> Option<Self> {
        let StoredFigure {
            week,
            figure,
            judged,
        } = stored;
        let Figure {
            group,
            released,
            low,
            high,
        } = figure;
        if !judged.verdict.alarms() {
            return None;
        }
        let group: Map<String, Json> = serde_json::from_str(group).ok()?;
        let week = week.to_string();
        let hash = Sha256::digest(serde_json::to_vec(&(standing, &week, &group)).ok()?);
        let tenths = |number: f64| (number * 10.0).round() / 10.0;
        Some(Self {
            id: format!("{standing}.{week}.{}", hex::encode(&hash[..8])),
            standing: standing.to_owned(),
            week,
            group,
            column: column.to_owned(),
            figure: released.value,
            figure_low: *low,
            figure_high: *high,
            expected: tenths(judged.expected?),
            band_low: judged.low.map(tenths),
            band_high: tenths(judged.high?),
            verdict: judged.verdict,
        })
    }

    /// The file of a mail, as RFC 5322 says. Only its body may be other than ASCII.
    pub fn mail(&self, mail: &Mail, raised: DateTime<Utc>) -> String {
        let where_is = match self.verdict {
            Verdict::Below => "below",
            _ => "above",
        };
        let group: Vec<String> = self
            .group
            .iter()
            .map(|(name, value)| {
                let value = value.as_str().unwrap_or("none");
                // A value never begins a line of its own.
                format!("{name}: {value}").replace(|c: char| c.is_control(), " ")
            })
            .collect();
        let from_to = match self.band_low {
            Some(low) => format!("{low} to {}", self.band_high),
            None => format!("up to {}", self.band_high),
        };
        let domain = mail.from.rsplit_once('@').map_or("localhost", |(_, at)| at);
        let mut lines = vec![
            format!("From: {}", mail.from),
            format!("To: {}", mail.to.join(",\r\n ")),
            format!(
                "Subject: {}: {where_is} the band in the week of {}",
                self.standing, self.week
            ),
            format!("Date: {}", raised.to_rfc2822()),
            format!("Message-ID: <{}@{domain}>", self.id),
            "Auto-Submitted: auto-generated".to_owned(),
            "MIME-Version: 1.0".to_owned(),
            "Content-Type: text/plain; charset=utf-8".to_owned(),
            "Content-Transfer-Encoding: 8bit".to_owned(),
            String::new(),
            format!("Week from: {}", self.week),
        ];
        lines.extend(group);
        lines.extend([
            format!(
                "{}: {} (95 % interval of its noise: {} to {})",
                self.column, self.figure, self.figure_low, self.figure_high
            ),
            format!("Expected from the weeks before: {}", self.expected),
            format!("Band that noise and chance explain: {from_to}"),
            String::new(),
        ]);
        lines.join("\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standing::band::{Judged, Released, Shape};

    fn stored(verdict: Verdict) -> StoredFigure {
        StoredFigure {
            week: "2024-05-06".parse().expect("a day"),
            figure: Figure {
                group: r#"{"region":"Nørrejylland\r\nBcc: x"}"#.to_owned(),
                released: Released {
                    value: 61.0,
                    sd: 1.4,
                    shape: Shape::Laplace,
                },
                low: 58.0,
                high: 64.0,
            },
            judged: Judged {
                expected: Some(30.04),
                low: None,
                high: Some(52.26),
                verdict,
            },
        }
    }

    #[test]
    fn a_mail_is_one_that_mail_servers_take_and_a_value_makes_no_header() {
        let message =
            Message::of("acute_alert", "admissions", &stored(Verdict::Above)).expect("an alarm");
        let mail = Mail {
            folder: "/mail".into(),
            from: "skerry@region.example".into(),
            to: vec!["ward@region.example".into(), "night@region.example".into()],
        };
        let raised = DateTime::from_timestamp(1_715_731_200, 0).expect("a time");
        let text = message.mail(&mail, raised);
        insta::assert_snapshot!(text.replace("\r\n", "\n"), @"
        From: skerry@region.example
        To: ward@region.example,
         night@region.example
        Subject: acute_alert: above the band in the week of 2024-05-06
        Date: Wed, 15 May 2024 00:00:00 +0000
        Message-ID: <acute_alert.2024-05-06.80cdf5ecf4709f40@region.example>
        Auto-Submitted: auto-generated
        MIME-Version: 1.0
        Content-Type: text/plain; charset=utf-8
        Content-Transfer-Encoding: 8bit

        Week from: 2024-05-06
        region: Nørrejylland  Bcc: x
        admissions: 61 (95 % interval of its noise: 58 to 64)
        Expected from the weeks before: 30
        Band that noise and chance explain: up to 52.3
        ");
        assert!(text.lines().all(|line| line.len() < 998));
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
    }

    #[test]
    fn only_what_is_outside_is_told_and_under_one_id() {
        for verdict in [Verdict::Learning, Verdict::Within] {
            assert_eq!(Message::of("a", "n", &stored(verdict)), None);
        }
        let ids = [Verdict::Above, Verdict::Above]
            .map(|verdict| Message::of("a", "n", &stored(verdict)).map(|message| message.id));
        assert_eq!(ids[0], ids[1]);
        assert_ne!(
            ids[0],
            Message::of("b", "n", &stored(Verdict::Above)).map(|message| message.id)
        );
    }
}
