//! Pictures of answers. A study's file says in Vega-Lite how its figures are drawn; Vega-Lite and
//! Vega themselves draw them, to SVG. `plot/README.md` tells why, and where they come from.

mod engine;

use serde_json::{Value as Json, json};

/// A picture, and what the drawing said of its specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// An `<svg>` element without a prologue: a file of its own, or a part of a page.
    pub svg: String,
    /// What is doubtful in the specification; empty when nothing is.
    pub warnings: Vec<String>,
}

/// Why there is no picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlotError {
    /// Vega-Lite or Vega refuses the specification, or it takes too long or too much memory.
    #[error("the plot can't be drawn: {0}")]
    Specification(String),
    /// What draws can't be started.
    #[error("what draws plots can't be started: {0}")]
    Engine(String),
}

/// Draws `rows`, a list of objects, as a Vega-Lite specification says. Nothing is read but the two.
///
/// # Errors
/// See [`PlotError`].
pub fn draw(specification: &Json, rows: &Json) -> Result<Picture, PlotError> {
    let mut whole = specification.clone();
    let Some(top) = whole.as_object_mut() else {
        let message = "the specification is no object".to_owned();
        return Err(PlotError::Specification(message));
    };
    top.insert("data".to_owned(), json!({ "values": rows }));
    engine::run(whole.to_string())
}

#[cfg(test)]
mod tests;
