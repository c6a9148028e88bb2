//! What is shown while something takes long: on a terminal only, and only after a while.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A line that turns on standard error while `what` goes on. Clear it when that ends.
#[must_use]
pub fn waiting(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A bar on standard error over `total` of something.
#[must_use]
pub fn counting(what: &'static str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {percent} % {eta}") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}
