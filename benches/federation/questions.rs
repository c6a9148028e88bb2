//! What is asked, of Skerry and of plain DataFusion.

/// One question in both forms.
#[derive(Debug)]
pub struct Wording {
    /// Its name in the results.
    pub name: &'static str,
    /// As a researcher asks it.
    pub skerry: &'static str,
    /// For plain DataFusion: of one region, which `{region}` stands for.
    pub part: &'static str,
    /// For plain DataFusion: from the regions' parts, which `{parts}` stands for.
    pub total: &'static str,
}

/// The questions. The first says what a question costs that reads next to nothing, and doesn't count.
pub const QUESTIONS: [Wording; 7] = [
    Wording {
        name: "Q0 people included (overhead)",
        skerry: "SELECT COUNT(*) AS people FROM inclusions",
        part: "SELECT COUNT(*) AS n FROM {region}_inclusions",
        total: "SELECT SUM(n) AS people FROM ({parts})",
    },
    Wording {
        name: "Q1 episodes by service",
        skerry: "SELECT service, COUNT(*) AS episodes FROM episodes GROUP BY service",
        part: "SELECT service, COUNT(*) AS n FROM {region}_episodes GROUP BY service",
        total: "SELECT service, SUM(n) AS episodes FROM ({parts}) GROUP BY service",
    },
    Wording {
        name: "Q2 cost by municipality",
        skerry: "SELECT e.region, p.municipality, SUM(e.cost) AS cost
                 FROM episodes e JOIN patients p ON e.patient_id = p.patient_id
                 GROUP BY e.region, p.municipality",
        part: "SELECT '{region}' AS region, p.municipality, SUM(e.cost) AS cost
               FROM {region}_episodes e JOIN {region}_patients p ON e.patient_id = p.patient_id
               GROUP BY p.municipality",
        total: "SELECT region, municipality, cost FROM ({parts})",
    },
    Wording {
        name: "Q3 persons by age and sex",
        skerry: "SELECT CASE WHEN p.birth_year > 2006 THEN 'under 18'
                             WHEN p.birth_year > 1959 THEN '18 to 64'
                             WHEN p.birth_year > 1944 THEN '65 to 79' ELSE '80 and over' END AS age,
                        p.sex, COUNT(DISTINCT e.patient_id) AS persons
                 FROM episodes e JOIN patients p ON e.patient_id = p.patient_id
                 GROUP BY 1, 2",
        part: "SELECT CASE WHEN p.birth_year > 2006 THEN 'under 18'
                           WHEN p.birth_year > 1959 THEN '18 to 64'
                           WHEN p.birth_year > 1944 THEN '65 to 79' ELSE '80 and over' END AS age,
                      p.sex, COUNT(DISTINCT e.patient_id) AS n
               FROM {region}_episodes e JOIN {region}_patients p ON e.patient_id = p.patient_id
               GROUP BY 1, 2",
        total: "SELECT age, sex, SUM(n) AS persons FROM ({parts}) GROUP BY age, sex",
    },
    Wording {
        name: "Q4 median cost of acute admissions",
        skerry: "SELECT APPROX_PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY cost) AS median
                 FROM episodes WHERE service = 'hospital_admission' AND urgent",
        part: "SELECT cost FROM {region}_episodes WHERE service = 'hospital_admission' AND urgent",
        total: "SELECT APPROX_PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY cost) AS median
                FROM ({parts})",
    },
    Wording {
        name: "Q5 before and after inclusion by service",
        skerry: "SELECT e.service,
                        SUM(CASE WHEN e.start_date < i.included_on THEN 1 ELSE 0 END) AS before,
                        SUM(CASE WHEN e.start_date < i.included_on THEN 0 ELSE 1 END) AS after
                 FROM episodes e JOIN inclusions i ON e.patient_id = i.patient_id
                 WHERE e.start_date >= i.included_on - INTERVAL '365 days'
                   AND e.start_date < i.included_on + INTERVAL '365 days'
                 GROUP BY e.service",
        part: "SELECT e.service,
                      SUM(CASE WHEN e.start_date < i.included_on THEN 1 ELSE 0 END) AS b,
                      SUM(CASE WHEN e.start_date < i.included_on THEN 0 ELSE 1 END) AS a
               FROM {region}_episodes e JOIN {region}_inclusions i ON e.patient_id = i.patient_id
               WHERE e.start_date >= i.included_on - INTERVAL '365 days'
                 AND e.start_date < i.included_on + INTERVAL '365 days'
               GROUP BY e.service",
        total: "SELECT service, SUM(b) AS before, SUM(a) AS after FROM ({parts}) GROUP BY service",
    },
    Wording {
        name: "Q6 persons with three acute admissions",
        skerry: "SELECT region, COUNT(*) AS persons
                 FROM (SELECT region, patient_id FROM episodes
                       WHERE service = 'hospital_admission' AND urgent
                         AND start_date >= DATE '2024-01-01'
                       GROUP BY region, patient_id HAVING COUNT(*) >= 3)
                 GROUP BY region",
        part: "SELECT '{region}' AS region, COUNT(*) AS persons
               FROM (SELECT patient_id FROM {region}_episodes
                     WHERE service = 'hospital_admission' AND urgent
                       AND start_date >= DATE '2024-01-01'
                     GROUP BY patient_id HAVING COUNT(*) >= 3)",
        total: "SELECT region, persons FROM ({parts})",
    },
];
