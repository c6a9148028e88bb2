//! `$name` in SQL. The SQL parser's own tokens tell what is one, so that nothing within quotes or
//! comments is touched.

use std::ops::Range;

use datafusion::sql::sqlparser::{
    dialect::GenericDialect,
    tokenizer::{Location, Token, Tokenizer},
};

/// A place in a text where a parameter's value belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placeholder {
    /// Without the `$`.
    pub name: String,
    /// Bytes of the text, `$` with them.
    pub bytes: Range<usize>,
}

/// All of a text, in its order.
///
/// # Errors
/// What the tokens can't be told of, or a placeholder of another form.
pub(super) fn placeholders(sql: &str) -> Result<Vec<Placeholder>, String> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for token in tokens {
        let Token::Placeholder(text) = &token.token else {
            continue;
        };
        let name = text.strip_prefix('$').unwrap_or_default();
        if !is_name(name) {
            return Err(format!(
                "`{text}` is no parameter: write $name, a name in lower case"
            ));
        }
        let start = offset(sql, token.span.start);
        found.push(Placeholder {
            name: name.to_owned(),
            bytes: start..start + text.len(),
        });
    }
    Ok(found)
}

/// The text with `literal` in each place.
///
/// # Errors
/// A name for which there is none.
pub(super) fn replace(
    sql: &str,
    literal: impl Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let mut written = String::with_capacity(sql.len());
    let mut at = 0;
    for placeholder in placeholders(sql)? {
        let value = literal(&placeholder.name)
            .ok_or_else(|| format!("`${}` is no parameter", placeholder.name))?;
        written.push_str(sql.get(at..placeholder.bytes.start).unwrap_or_default());
        written.push_str(&value);
        at = placeholder.bytes.end;
    }
    written.push_str(sql.get(at..).unwrap_or_default());
    Ok(written)
}

/// What a study, a parameter or a column may be called: words that need no quotes in SQL.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// The byte of a line and column, both of them from 1 and columns in characters.
fn offset(sql: &str, place: Location) -> usize {
    let before: usize = sql
        .split_inclusive('\n')
        .take(place.line.saturating_sub(1) as usize)
        .map(str::len)
        .sum();
    let line = sql.get(before..).unwrap_or_default();
    let characters = place.column.saturating_sub(1) as usize;
    let within = line.char_indices().nth(characters);
    before + within.map_or(line.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_within_quotes_or_comments_is_a_placeholder() {
        let sql =
            "SELECT 'ø $a', \"$b\", x$c -- $d\n/* $e */ FROM t\nWHERE 'æ' = y AND z > $f AND w<$g2";
        let names: Vec<String> = placeholders(sql)
            .expect("tokens")
            .into_iter()
            .map(|placeholder| placeholder.name)
            .collect();
        assert_eq!(names, ["f", "g2"]);
        let written = replace(sql, |name| Some(format!("<{name}>"))).expect("replaced");
        assert_eq!(
            written,
            sql.replace("$f", "<f>").replace("$g2", "<g2>"),
            "all else stays as it is"
        );
    }

    #[test]
    fn other_forms_and_unknown_names_are_refused() {
        for sql in ["SELECT ?", "SELECT $1", "SELECT $Days"] {
            assert!(placeholders(sql).is_err(), "{sql}");
        }
        assert!(placeholders("SELECT 'open").is_err());
        assert!(replace("SELECT $a", |_| None).is_err());
    }
}
