//! Standard populations: their age bands, each with its first age and its weight per 100,000.

/// European Standard Population 2013. Source: Eurostat, *Revision of the European Standard
/// Population*, KS-RA-13-028, 2013.
pub const EUROPEAN_2013: [(&str, i32, i64); 21] = [
    ("0", 0, 1000),
    ("1-4", 1, 4000),
    ("5-9", 5, 5500),
    ("10-14", 10, 5500),
    ("15-19", 15, 5500),
    ("20-24", 20, 6000),
    ("25-29", 25, 6000),
    ("30-34", 30, 6500),
    ("35-39", 35, 7000),
    ("40-44", 40, 7000),
    ("45-49", 45, 7000),
    ("50-54", 50, 7000),
    ("55-59", 55, 6500),
    ("60-64", 60, 6000),
    ("65-69", 65, 5500),
    ("70-74", 70, 5000),
    ("75-79", 75, 4000),
    ("80-84", 80, 2500),
    ("85-89", 85, 1500),
    ("90-94", 90, 800),
    ("95+", 95, 200),
];

/// Nordic standard population of 2000. Source: NORDCAN.
pub const NORDIC_2000: [(&str, i32, i64); 18] = [
    ("0-4", 0, 5900),
    ("5-9", 5, 6600),
    ("10-14", 10, 6200),
    ("15-19", 15, 5800),
    ("20-24", 20, 6100),
    ("25-29", 25, 6800),
    ("30-34", 30, 7300),
    ("35-39", 35, 7300),
    ("40-44", 40, 7000),
    ("45-49", 45, 6900),
    ("50-54", 50, 7400),
    ("55-59", 55, 6100),
    ("60-64", 60, 4800),
    ("65-69", 65, 4100),
    ("70-74", 70, 3900),
    ("75-79", 75, 3500),
    ("80-84", 80, 2400),
    ("85+", 85, 1900),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::vocabulary::AGE_BANDS;

    #[test]
    fn standards_add_up_to_100_000() {
        let european: i64 = EUROPEAN_2013.iter().map(|row| row.2).sum();
        let nordic: i64 = NORDIC_2000.iter().map(|row| row.2).sum();
        assert_eq!((european, nordic), (100_000, 100_000));
    }

    #[test]
    fn the_population_tables_bands_are_the_european_ones() {
        assert!(EUROPEAN_2013.iter().map(|row| (row.0, row.1)).eq(AGE_BANDS));
    }
}
