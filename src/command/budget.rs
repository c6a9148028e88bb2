//! `skerry budget`

use clap::Args;
use serde_json::Value as Json;
use skerry_proto::{ProjectId, Refusal};

use super::{
    asking::identifier,
    block_on,
    connection::{Connection, ListFormat},
};
use crate::output::{colours, plain_table, print, print_json, short};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Whose budget
    #[arg(long, default_value = "default", value_name = "NAME")]
    project: String,
    /// How it is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: ListFormat,
}

/// Shows what was spent and is left.
pub fn run(arguments: &Arguments) -> Result<(), Refusal> {
    let project = identifier::<ProjectId, _>(&arguments.project)?;
    let budget = block_on(async {
        arguments
            .connection
            .open()
            .await?
            .budget(Some(&project))
            .await
    })?;
    if arguments.format == ListFormat::Json {
        return print_json(&budget);
    }
    print(&text(&budget, arguments.project.as_str()))
}

fn text(budget: &Json, project: &str) -> String {
    let mut rows = Vec::new();
    for (region, amounts) in budget
        .get("regions")
        .and_then(Json::as_object)
        .into_iter()
        .flatten()
    {
        for (whose, key) in [(project, "project"), ("all projects", "total")] {
            let number = |name: &str| {
                let value = amounts.get(key).and_then(|amount| amount.get(name));
                value
                    .and_then(Json::as_f64)
                    .map_or_else(|| "?".to_owned(), short)
            };
            rows.push(vec![
                region.clone(),
                whose.to_owned(),
                number("epsilon_spent"),
                number("epsilon_left"),
                number("delta"),
            ]);
        }
    }
    let header = ["region", "of", "ε spent", "ε left", "at δ"];
    let right = ["ε spent", "ε left", "at δ"];
    let mut text = plain_table(&header, &rows, &right, colours());
    for region in budget
        .get("missing")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
    {
        text.push_str(&format!(
            "no answer from {}\n",
            region.as_str().unwrap_or_default()
        ));
    }
    text.trim_end().to_owned()
}
