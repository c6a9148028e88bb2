//! The words of the common model: services, ways of contact, pathways, and the calendar.

/// The first calendar year with episodes.
pub const FIRST_YEAR: i32 = 2019;

/// How many calendar years have episodes: 2019 to 2024.
pub const YEARS: usize = 6;

/// Days since 1970-01-01 of each first of January from 2019 to 2025; the last is the first day
/// that is not observed.
pub const YEAR_STARTS: [i32; YEARS + 1] = [17897, 18262, 18628, 18993, 19358, 19723, 20089];

/// The first observed day, as days since 1970-01-01.
pub const FIRST_DAY: i32 = YEAR_STARTS[0];

/// The first day that is no longer observed (2025-01-01), as days since 1970-01-01.
pub const END_DAY: i32 = YEAR_STARTS[YEARS];

/// What an episode is, finer than the column `service`: admissions to hospital are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A contact with a general practitioner.
    Gp,
    /// A visit at home by a nurse.
    HomeNursing,
    /// A day at a day centre.
    DayActivity,
    /// A visit to a hospital's outpatient clinic.
    Outpatient,
    /// Municipal rehabilitation.
    Rehabilitation,
    /// A short stay in a municipal institution.
    ShortTermStay,
    /// A contact with the emergency primary care clinic.
    EmergencyClinic,
    /// A stay in the municipal acute ward.
    AcuteWard,
    /// An acute admission to hospital that is no readmission.
    AcuteAdmission,
    /// A planned admission to hospital.
    ElectiveAdmission,
    /// An acute admission that comes within 30 days of another stay in hospital.
    Readmission,
}

impl Kind {
    /// Every kind, in the order of its code.
    pub const ALL: [Self; 11] = [
        Self::Gp,
        Self::HomeNursing,
        Self::DayActivity,
        Self::Outpatient,
        Self::Rehabilitation,
        Self::ShortTermStay,
        Self::EmergencyClinic,
        Self::AcuteWard,
        Self::AcuteAdmission,
        Self::ElectiveAdmission,
        Self::Readmission,
    ];

    /// How many kinds come about by themselves; readmissions follow an admission.
    pub const SPONTANEOUS: usize = 10;

    /// The place in [`SERVICES`].
    pub fn service(self) -> usize {
        match self {
            Self::AcuteAdmission | Self::ElectiveAdmission | Self::Readmission => 8,
            other => other as usize,
        }
    }

    /// 1 for the hospital, 0 for the municipality: the place in [`LEVELS`].
    pub fn level(self) -> usize {
        usize::from(self == Self::Outpatient || self.service() == 8)
    }

    /// Whether the episode could not wait.
    pub fn urgent(self) -> bool {
        matches!(
            self,
            Self::EmergencyClinic | Self::AcuteWard | Self::AcuteAdmission | Self::Readmission
        )
    }

    /// The name in the written truth.
    pub fn name(self) -> &'static str {
        match self {
            Self::AcuteAdmission => "first_acute_admission",
            Self::ElectiveAdmission => "elective_admission",
            Self::Readmission => "readmission",
            other => SERVICES[other.service()],
        }
    }
}

/// The values of `episodes.service`.
pub const SERVICES: [&str; 9] = [
    "gp",
    "home_nursing",
    "day_activity",
    "outpatient",
    "rehabilitation",
    "short_term_stay",
    "emergency_clinic",
    "acute_ward",
    "hospital_admission",
];

/// The values of `episodes.level`.
pub const LEVELS: [&str; 2] = ["municipality", "hospital"];

/// The values of `episodes.mode`.
pub const MODES: [&str; 4] = ["in_person", "video", "phone", "home_monitoring"];

/// The values of `patients.sex`.
pub const SEXES: [&str; 2] = ["female", "male"];

/// The values of `inclusions.pathway`.
pub const PATHWAYS: [&str; 2] = ["integrated", "enhanced_return_home"];

/// The values of `inclusions.risk`.
pub const RISKS: [&str; 3] = ["low", "middle", "high"];

/// The values of `inclusions.end_reason`.
pub const END_REASONS: [&str; 6] = [
    "moved",
    "nursing_home",
    "too_well",
    "too_ill",
    "died",
    "completed",
];

/// The values of `pathway_steps.step`.
pub const STEPS: [&str; 5] = [
    "referral",
    "consent",
    "home_visit",
    "treatment_plan",
    "evaluation",
];

/// The values of `surveys.respondent`.
pub const RESPONDENTS: [&str; 2] = ["patient", "next_of_kin"];

/// The values of `surveys.question`.
pub const QUESTIONS: [&str; 5] = [
    "overall",
    "safety",
    "information",
    "involvement",
    "continuity",
];

/// Chronic conditions: the values of `conditions.icd10`, and how common each is among them, per
/// thousand.
pub const CONDITIONS: [(&str, u32); 14] = [
    ("I10", 210),
    ("E11", 120),
    ("M15", 110),
    ("I25", 90),
    ("I48", 80),
    ("J44", 75),
    ("F32", 60),
    ("I50", 55),
    ("M81", 50),
    ("N18", 45),
    ("C61", 30),
    ("I69", 30),
    ("G20", 15),
    ("F00", 30),
];

/// The age bands of the European Standard Population 2013, each with its first year of age.
pub const AGE_BANDS: [(&str, i32); 21] = [
    ("0", 0),
    ("1-4", 1),
    ("5-9", 5),
    ("10-14", 10),
    ("15-19", 15),
    ("20-24", 20),
    ("25-29", 25),
    ("30-34", 30),
    ("35-39", 35),
    ("40-44", 40),
    ("45-49", 45),
    ("50-54", 50),
    ("55-59", 55),
    ("60-64", 60),
    ("65-69", 65),
    ("70-74", 70),
    ("75-79", 75),
    ("80-84", 80),
    ("85-89", 85),
    ("90-94", 90),
    ("95+", 95),
];

/// The place in [`AGE_BANDS`] of an age in full years.
pub fn age_band(age: i32) -> usize {
    match age {
        ..=0 => 0,
        1..=4 => 1,
        5..=94 => usize::try_from(age / 5).map_or(20, |band| band + 1),
        _ => 20,
    }
}

/// The place in the observed years of a day, or nothing when it lies outside.
pub fn year_of_day(day: i32) -> Option<usize> {
    (FIRST_DAY..END_DAY)
        .contains(&day)
        .then(|| YEAR_STARTS.partition_point(|&start| start <= day) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_hold_their_first_ages() {
        for (place, (_, first)) in AGE_BANDS.iter().enumerate() {
            assert_eq!(age_band(*first), place);
            assert_eq!(age_band(*first - 1), place.saturating_sub(1));
        }
        assert_eq!(age_band(104), 20);
    }

    #[test]
    fn years_begin_in_january() {
        use chrono::NaiveDate;
        for (year, &day) in (FIRST_YEAR..).zip(&YEAR_STARTS) {
            let date = NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
            assert_eq!(date.to_epoch_days(), day);
        }
        assert_eq!(year_of_day(END_DAY), None);
        assert_eq!(year_of_day(END_DAY - 1), Some(YEARS - 1));
        assert_eq!(year_of_day(FIRST_DAY), Some(0));
    }

    #[test]
    fn condition_shares_add_up() {
        assert_eq!(CONDITIONS.iter().map(|(_, share)| share).sum::<u32>(), 1000);
    }
}
