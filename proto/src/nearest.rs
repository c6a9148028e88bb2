//! What was probably meant by a mistyped name.

/// Names that begin alike have at least this Jaro–Winkler likeness.
const BEGIN_ALIKE: f64 = 0.75;
/// Names of which so large a part agrees are alike wherever they differ.
const MOSTLY_ALIKE: f64 = 0.6;

/// The known name that is nearest to `wanted`, if any is near.
#[must_use]
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    known
        .into_iter()
        .filter_map(|name| {
            let lower = name.to_lowercase();
            let begins = strsim::jaro_winkler(&wanted, &lower);
            let edits = strsim::normalized_damerau_levenshtein(&wanted, &lower);
            (begins >= BEGIN_ALIKE || edits >= MOSTLY_ALIKE).then(|| (begins.max(edits), name))
        })
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// A hint that names the nearest known name, or else all of them.
#[must_use]
pub fn suggest(wanted: &str, known: &[&str]) -> String {
    match nearest(wanted, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => String::new(),
        None => format!("known here: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant_and_nothing_else() {
        assert_eq!(nearest("vists", ["visits", "patients"]), Some("visits"));
        assert_eq!(nearest("ulr", ["id", "url"]), Some("url"));
        assert_eq!(
            nearest("max_rows", ["unit", "max_rows_per_unit"]),
            Some("max_rows_per_unit")
        );
        assert_eq!(nearest("zzzzzz", ["visits", "patients"]), None);
        assert_eq!(suggest("zzzzzz", &["a", "b"]), "known here: a, b");
        assert_eq!(suggest("zzzzzz", &[]), "");
    }
}
