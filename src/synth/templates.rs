//! What the five synthetic regions are modelled on.
//!
//! Names, rough sizes and rough distances of regions and municipalities are public facts; levels
//! of use, waiting and effects are invented, different on purpose, and written to `truth.json`.

/// A municipality of a synthetic region.
#[derive(Debug)]
pub struct Municipality {
    /// Its name; the people in it are synthetic.
    pub name: &'static str,
    /// Its size relative to the others of the region (about its real number of inhabitants).
    pub size: u32,
    /// Kilometres, one way, to the nearest hospital.
    pub hospital_km: f64,
    /// Kilometres, one way, to the local centre.
    pub centre_km: f64,
    /// Whether it takes people into the integrated service.
    pub participating: bool,
}

/// The public parameters of a synthetic region.
#[derive(Debug)]
pub struct Template {
    /// The region's id.
    pub id: &'static str,
    /// How to show its name: always with the word synthetic.
    pub label: &'static str,
    /// Two-letter country code.
    pub country: &'static str,
    /// Share of all people of the federation.
    pub share: f64,
    /// How much older than the Nordic average: weights of ages tilt by exp(tilt × (age − 42) / 40).
    pub age_tilt: f64,
    /// Level of use relative to the others.
    pub use_level: f64,
    /// Price level relative to the others.
    pub price_level: f64,
    /// Waiting relative to the others.
    pub waiting_level: f64,
    /// Share of contacts that could be distance-spanning that are, in 2024.
    pub remote_share: f64,
    /// Share of contacts with the same clinician, before inclusion.
    pub continuity: f64,
    /// Probability that a person of frailty 3 is admitted again within 30 days of a stay in hospital.
    pub readmission: f64,
    /// Strength of the effects of inclusion: 1 is the table in `effects.rs`, 0 none.
    pub effect: f64,
    /// Share of eligible people of usual use who are included.
    pub inclusion: f64,
    /// Days within which a specialist has to see a patient.
    pub guarantee_days: i32,
    /// The municipalities.
    pub municipalities: &'static [Municipality],
}

const fn m(
    name: &'static str,
    size: u32,
    hospital_km: f64,
    centre_km: f64,
    participating: bool,
) -> Municipality {
    Municipality {
        name,
        size,
        hospital_km,
        centre_km,
        participating,
    }
}

/// The five synthetic regions.
pub const TEMPLATES: [Template; 5] = [
    Template {
        id: "norrbotten",
        label: "Norrbotten (synthetic)",
        country: "SE",
        share: 0.13,
        age_tilt: 0.16,
        use_level: 0.95,
        price_level: 1.05,
        waiting_level: 1.25,
        remote_share: 0.34,
        continuity: 0.38,
        readmission: 0.13,
        effect: 0.8,
        inclusion: 0.50,
        guarantee_days: 90,
        municipalities: &[
            m("Luleå", 79_000, 9.0, 3.0, true),
            m("Piteå", 42_000, 5.0, 3.5, true),
            m("Boden", 28_000, 14.0, 4.0, true),
            m("Kiruna", 22_000, 6.0, 5.0, true),
            m("Gällivare", 17_000, 7.0, 5.5, false),
            m("Kalix", 16_000, 6.0, 5.0, true),
            m("Haparanda", 9_400, 52.0, 4.0, false),
            m("Älvsbyn", 8_000, 50.0, 6.0, true),
            m("Arvidsjaur", 6_000, 110.0, 8.0, false),
            m("Pajala", 5_900, 145.0, 14.0, true),
            m("Jokkmokk", 4_800, 95.0, 12.0, false),
            m("Övertorneå", 4_200, 85.0, 10.0, false),
            m("Överkalix", 3_200, 55.0, 9.0, false),
            m("Arjeplog", 2_700, 190.0, 15.0, true),
        ],
    },
    Template {
        id: "nordland",
        label: "Nordland (synthetic)",
        country: "NO",
        share: 0.12,
        age_tilt: 0.08,
        use_level: 1.06,
        price_level: 1.12,
        waiting_level: 1.05,
        remote_share: 0.30,
        continuity: 0.52,
        readmission: 0.15,
        effect: 0.9,
        inclusion: 0.45,
        guarantee_days: 60,
        municipalities: &[
            m("Bodø", 54_000, 7.0, 3.0, true),
            m("Rana", 26_000, 6.0, 4.0, true),
            m("Narvik", 21_500, 7.0, 4.5, true),
            m("Vefsn", 13_200, 5.0, 4.0, true),
            m("Vestvågøy", 11_600, 12.0, 6.0, false),
            m("Sortland", 10_500, 28.0, 5.0, true),
            m("Vågan", 9_800, 65.0, 6.0, false),
            m("Fauske", 9_600, 55.0, 5.0, true),
            m("Hadsel", 8_200, 9.0, 6.0, false),
            m("Brønnøy", 7_800, 165.0, 7.0, true),
            m("Alstahaug", 7_400, 5.0, 5.0, false),
            m("Meløy", 6_200, 135.0, 9.0, false),
            m("Andøy", 4_600, 95.0, 11.0, true),
            m("Øksnes", 4_400, 60.0, 9.0, false),
            m("Saltdal", 4_700, 85.0, 8.0, false),
            m("Steigen", 2_700, 210.0, 14.0, true),
            m("Hamarøy", 2_700, 195.0, 15.0, false),
        ],
    },
    Template {
        id: "akershus",
        label: "Akershus (synthetic)",
        country: "NO",
        share: 0.36,
        age_tilt: -0.12,
        use_level: 0.92,
        price_level: 1.10,
        waiting_level: 1.0,
        remote_share: 0.22,
        continuity: 0.50,
        readmission: 0.16,
        effect: 1.0,
        inclusion: 0.60,
        guarantee_days: 60,
        municipalities: &[
            m("Lillestrøm", 93_000, 9.0, 3.0, true),
            m("Nordre Follo", 63_000, 24.0, 3.0, true),
            m("Lørenskog", 48_000, 3.0, 2.0, true),
            m("Ullensaker", 44_000, 33.0, 3.5, true),
            m("Eidsvoll", 28_000, 52.0, 5.0, false),
            m("Nes", 25_000, 43.0, 6.0, true),
            m("Nittedal", 25_000, 18.0, 3.0, false),
            m("Ås", 21_500, 33.0, 3.0, false),
            m("Nesodden", 20_000, 42.0, 3.0, false),
            m("Rælingen", 20_000, 8.0, 2.5, false),
            m("Vestby", 19_500, 44.0, 3.5, false),
            m("Aurskog-Høland", 18_500, 45.0, 7.0, false),
            m("Kongsvinger", 18_000, 8.0, 4.0, true),
            m("Frogn", 16_500, 38.0, 3.0, false),
            m("Nannestad", 16_000, 42.0, 5.0, false),
            m("Enebakk", 11_500, 28.0, 4.0, false),
            m("Gjerdrum", 7_400, 25.0, 3.0, false),
            m("Hurdal", 3_000, 65.0, 5.0, false),
        ],
    },
    Template {
        id: "north_karelia",
        label: "North Karelia (synthetic)",
        country: "FI",
        share: 0.09,
        age_tilt: 0.25,
        use_level: 1.18,
        price_level: 0.86,
        waiting_level: 1.35,
        remote_share: 0.28,
        continuity: 0.43,
        readmission: 0.14,
        effect: 0.6,
        inclusion: 0.50,
        guarantee_days: 90,
        municipalities: &[
            m("Joensuu", 78_000, 6.0, 3.0, true),
            m("Kontiolahti", 15_000, 19.0, 4.0, true),
            m("Liperi", 11_800, 28.0, 5.0, true),
            m("Lieksa", 10_100, 97.0, 8.0, false),
            m("Kitee", 9_500, 66.0, 7.0, true),
            m("Nurmes", 9_200, 128.0, 8.0, true),
            m("Outokumpu", 6_400, 48.0, 4.0, false),
            m("Ilomantsi", 4_500, 73.0, 11.0, false),
            m("Juuka", 4_300, 85.0, 9.0, false),
            m("Tohmajärvi", 4_100, 58.0, 8.0, false),
            m("Polvijärvi", 4_000, 46.0, 7.0, true),
            m("Heinävesi", 3_000, 92.0, 9.0, false),
            m("Rääkkylä", 1_900, 68.0, 8.0, false),
        ],
    },
    Template {
        id: "north_jutland",
        label: "North Jutland (synthetic)",
        country: "DK",
        share: 0.30,
        age_tilt: 0.03,
        use_level: 1.03,
        price_level: 0.97,
        waiting_level: 0.7,
        remote_share: 0.26,
        continuity: 0.60,
        readmission: 0.17,
        effect: 0.75,
        inclusion: 0.40,
        guarantee_days: 30,
        municipalities: &[
            m("Aalborg", 223_000, 8.0, 2.5, true),
            m("Hjørring", 63_000, 7.0, 4.0, true),
            m("Frederikshavn", 58_000, 10.0, 4.0, true),
            m("Thisted", 43_000, 9.0, 6.0, true),
            m("Mariagerfjord", 41_500, 18.0, 5.0, false),
            m("Jammerbugt", 38_500, 35.0, 6.0, false),
            m("Brønderslev", 36_700, 27.0, 5.0, true),
            m("Vesthimmerland", 36_000, 30.0, 6.0, false),
            m("Rebild", 30_800, 28.0, 5.0, false),
            m("Morsø", 19_800, 32.0, 5.0, true),
            m("Læsø", 1_800, 40.0, 4.0, false),
        ],
    },
];
