//! Synthetic regions with a budget that lasts for all runs, and their rows in one place.

use std::path::Path;

use datafusion::prelude::{ParquetReadOptions, SessionContext};

use crate::Failure;

/// Enough for all runs.
const LARGE_BUDGET: &str = "{ epsilon = 900.0, delta = 1e-7 }";

/// Copies the policy files with a budget that doesn't run out.
pub fn with_large_budget(data: &Path, policy: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(policy)?;
    for entry in std::fs::read_dir(data)? {
        let entry = entry?;
        let (from, to) = (entry.path(), policy.join(entry.file_name()));
        if from.is_dir() {
            std::fs::create_dir_all(&to)?;
            for file in std::fs::read_dir(&from)? {
                let file = file?;
                copy_or_link(&file.path(), &to.join(file.file_name()))?;
            }
        } else {
            copy_or_link(&from, &to)?;
        }
    }
    Ok(())
}

/// Policies are copied with a larger budget, data are hard links.
fn copy_or_link(from: &Path, to: &Path) -> Result<(), Failure> {
    if from
        .extension()
        .is_some_and(|extension| extension == "toml")
    {
        let text = std::fs::read_to_string(from)?;
        let lines: Vec<String> = text
            .lines()
            .map(|line| {
                if line.starts_with("project = {") || line.starts_with("total = {") {
                    let name = line.split(' ').next().unwrap_or_default();
                    format!("{name} = {LARGE_BUDGET}")
                } else {
                    line.to_owned()
                }
            })
            .collect();
        let mut text = lines.join("\n");
        if text.contains("[[table]]") && !text.contains("[budget]") {
            text += &format!("\n[budget]\nproject = {LARGE_BUDGET}\ntotal = {LARGE_BUDGET}\n");
        }
        std::fs::write(to, text)?;
    } else {
        std::fs::hard_link(from, to).or_else(|_| std::fs::copy(from, to).map(|_| ()))?;
    }
    Ok(())
}

/// Tables of persons, in each region's own folder.
const PRIVATE_TABLES: [&str; 6] = [
    "patients",
    "episodes",
    "conditions",
    "inclusions",
    "pathway_steps",
    "surveys",
];

/// All regions' tables as one, with the region, and the public tables.
pub async fn pooled(data: &Path, regions: &[String]) -> Result<SessionContext, Failure> {
    let session = SessionContext::new();
    let register = async |name: &str, file: &Path| {
        let file = file.display().to_string();
        let options = ParquetReadOptions::default();
        session.register_parquet(name, file, options).await
    };
    for table in PRIVATE_TABLES {
        let mut parts = Vec::new();
        for (place, region) in regions.iter().enumerate() {
            let name = format!("{region}_{table}");
            let file = data.join(region).join(format!("{table}.parquet"));
            register(&name, &file).await?;
            // A number is a person's within a region alone: pooled, two persons would be one.
            parts.push(format!(
                "SELECT * REPLACE (patient_id * {} + {place} AS patient_id), '{region}' AS region
                 FROM {name}",
                regions.len()
            ));
        }
        let view = format!("CREATE VIEW {table} AS {}", parts.join(" UNION ALL "));
        session.sql(&view).await?.collect().await?;
    }
    for entry in std::fs::read_dir(data.join("public"))? {
        let file = entry?.path();
        if let Some(name) = file.file_stem().and_then(|stem| stem.to_str()) {
            register(name, &file).await?;
        }
    }
    Ok(session)
}
