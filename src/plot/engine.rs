//! QuickJS with Vega and Vega-Lite in it. The scripts have no files, no network and no clock
//! that waits; memory, stack and time are bounded.

use std::{
    thread,
    time::{Duration, Instant},
};

use rquickjs::{CatchResultExt as _, Context, Ctx, Function, Promise, Runtime};
use serde::Deserialize;

use super::{Picture, PlotError};

/// What Vega needs and QuickJS lacks, and our own `draw`.
const BEFORE: &str = include_str!("before.js");
const VEGA: &str = include_str!("vega/vega.min.js");
const VEGA_LITE: &str = include_str!("vega/vega-lite.min.js");
const DRAW: &str = include_str!("draw.js");

const MEMORY_BYTES: usize = 512 << 20;
/// Of the scripts; the thread has room for what they call.
const SCRIPT_STACK_BYTES: usize = 8 << 20;
const STACK_BYTES: usize = 4 * SCRIPT_STACK_BYTES;
/// A picture of a hundred bars takes a tenth of a second.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Drawn {
    svg: String,
    warnings: Vec<String>,
}

/// Draws a whole specification, data with it, written as JSON.
pub(super) fn run(specification: String) -> Result<Picture, PlotError> {
    let work = move || {
        let runtime = Runtime::new().map_err(|error| PlotError::Engine(error.to_string()))?;
        runtime.set_memory_limit(MEMORY_BYTES);
        runtime.set_max_stack_size(SCRIPT_STACK_BYTES);
        let until = Instant::now() + LONGEST;
        runtime.set_interrupt_handler(Some(Box::new(move || Instant::now() > until)));
        let context =
            Context::full(&runtime).map_err(|error| PlotError::Engine(error.to_string()))?;
        context.with(|context| draw(&context, specification))
    };
    let thread = thread::Builder::new()
        .name("plot".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(work)
        .map_err(|error| PlotError::Engine(error.to_string()))?;
    thread
        .join()
        .unwrap_or_else(|_| Err(PlotError::Engine("its thread has ended".to_owned())))
}

fn draw(context: &Ctx<'_>, specification: String) -> Result<Picture, PlotError> {
    for script in [BEFORE, VEGA, VEGA_LITE, DRAW] {
        context
            .eval::<(), _>(script)
            .catch(context)
            .map_err(|error| PlotError::Engine(first_line(&error.to_string())))?;
    }
    let failed = |message: String| PlotError::Specification(first_line(&message));
    let draw: Function<'_> = context
        .globals()
        .get("draw")
        .map_err(|error| PlotError::Engine(error.to_string()))?;
    let promise: Promise<'_> = draw
        .call((specification,))
        .catch(context)
        .map_err(|error| failed(error.to_string()))?;
    let drawn: String = promise
        .finish()
        .catch(context)
        .map_err(|error| failed(error.to_string()))?;
    let drawn: Drawn = serde_json::from_str(&drawn).map_err(|error| failed(error.to_string()))?;
    Ok(Picture {
        svg: drawn.svg,
        warnings: drawn.warnings,
    })
}

/// Without the trace through Vega's own code.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    line.trim_start_matches("Error: ").to_owned()
}
