//! What the SQL parser doesn't know: `EXPLAIN PRIVACY` and
//! `WITH DIFFERENTIAL_PRIVACY OPTIONS(…)`. Both are blanked out of the text before it is parsed,
//! so that the positions in the parser's messages stay right. The statement's size is checked
//! here too, before anything recursive sees it.

use datafusion::sql::sqlparser::{
    dialect::GenericDialect,
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer},
};
use skerry_proto::{Delta, Epsilon, ErrorCode, Refusal, nearest::nearest};

use crate::{accuracy::Accuracy, refuse::refuse};

/// Bytes of one statement.
const SQL_BYTES: usize = 128 * 1024;
/// Tokens of one statement, white space left out.
const TOKENS: usize = 20_000;
/// Operators of one statement: a chain of them becomes a tree as deep as it is long.
const OPERATORS: usize = 500;
/// Open parentheses at one place.
const DEPTH: usize = 48;

const NAMES: [&str; 10] = [
    "epsilon",
    "delta",
    "max_groups_contributed",
    "max_rows_contributed",
    "max_total_contributed",
    "bounds",
    "uncertainty",
    "clamp",
    "consistent",
    "accuracy",
];

/// Whose bounds on a person's contribution hold, where the researcher gives none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Bounds {
    /// Found ones where declared ones are likely to be far too wide.
    #[default]
    Automatic,
    /// The owners' declarations.
    Declared,
    /// Those found with a part of the budget.
    Found,
}

/// A statement without our own words, and what they said.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Statement {
    /// SQL that the parser knows.
    pub sql: String,
    /// `EXPLAIN PRIVACY`.
    pub explain: bool,
    /// `epsilon = …`
    pub epsilon: Option<Epsilon>,
    /// `delta = …`
    pub delta: Option<Delta>,
    /// `max_groups_contributed = …`
    pub max_groups_contributed: Option<u64>,
    /// `max_rows_contributed = …`
    pub max_rows_contributed: Option<u64>,
    /// `max_total_contributed = …`
    pub max_total_contributed: Option<f64>,
    /// `bounds = …`
    pub bounds: Option<Bounds>,
    /// `uncertainty = 'total'`: true, `'noise'`: false.
    pub total: Option<bool>,
    /// `clamp = …`
    pub clamp: Option<bool>,
    /// `consistent = …`
    pub consistent: Option<bool>,
    /// `accuracy = …`
    pub accuracy: Option<Accuracy>,
}

/// Takes our words off a statement.
pub(crate) fn take(sql: &str) -> Result<Statement, Refusal> {
    if sql.len() > SQL_BYTES {
        return refuse(
            ErrorCode::TooLarge,
            format!(
                "the statement has {} bytes, at most {SQL_BYTES} are read",
                sql.len()
            ),
            "",
        );
    }
    let tokens: Vec<TokenWithSpan> = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| Refusal::new(ErrorCode::Syntax, error.to_string(), ""))?
        .into_iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)))
        .collect();
    check_size(&tokens)?;

    let mut statement = Statement::default();
    let mut blanks: Vec<(Location, Location)> = Vec::new();
    if let [first, second, ..] = tokens.as_slice()
        && is_word(first, "EXPLAIN")
        && is_word(second, "PRIVACY")
    {
        statement.explain = true;
        blanks.push((first.span.start, second.span.end));
    }
    let mut at = 0;
    while at + 1 < tokens.len() {
        if is_word(&tokens[at], "WITH") && is_word(&tokens[at + 1], "DIFFERENTIAL_PRIVACY") {
            if blanks.len() > usize::from(statement.explain) {
                return refuse(
                    ErrorCode::InvalidParameter,
                    "`WITH DIFFERENTIAL_PRIVACY` is there twice",
                    "Write it once, after the first SELECT: it holds for the whole statement.",
                );
            }
            let end = read(&tokens, at + 2, &mut statement)?;
            blanks.push((tokens[at].span.start, tokens[end - 1].span.end));
            at = end;
        } else {
            at += 1;
        }
    }
    statement.sql = blank(sql, &blanks);
    Ok(statement)
}

fn check_size(tokens: &[TokenWithSpan]) -> Result<(), Refusal> {
    let too_many = |what: &str, limit: usize| {
        refuse(
            ErrorCode::TooLarge,
            format!("the statement has more than {limit} {what}"),
            "Ask for less at once.",
        )
    };
    if tokens.len() > TOKENS {
        return too_many("words and signs", TOKENS);
    }
    let (mut operators, mut depth) = (0_usize, 0_usize);
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            Token::Comma | Token::Period | Token::SemiColon | Token::Number(..) => {}
            Token::SingleQuotedString(_) => {}
            // NOT, CASE, SELECT and UNION nest like operators do.
            Token::Word(word) => {
                let word = word.value.to_ascii_uppercase();
                if [
                    "AND", "OR", "NOT", "CASE", "SELECT", "UNION", "JOIN", "IS", "LIKE",
                ]
                .contains(&word.as_str())
                {
                    operators += 1;
                }
            }
            _ => operators += 1,
        }
        if depth > DEPTH {
            return too_many("parentheses within each other", DEPTH);
        }
    }
    if operators > OPERATORS {
        return too_many("operators", OPERATORS);
    }
    Ok(())
}

fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(w)
        if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// Reads `[OPTIONS (name = value, …)]` from token `at`; returns the token after it. A value is a
/// number, a text, or a word like `true`.
fn read(tokens: &[TokenWithSpan], at: usize, into: &mut Statement) -> Result<usize, Refusal> {
    let wrong = |at: usize| {
        let found = tokens
            .get(at)
            .map_or("the end".to_owned(), |t| t.token.to_string());
        Refusal::new(
            ErrorCode::Syntax,
            format!("`{found}` can't stand there in WITH DIFFERENTIAL_PRIVACY"),
            "Write: WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 0.5, delta = 1e-6, clamp = true)",
        )
    };
    let token = |at: usize| tokens.get(at).map(|token| &token.token);
    if !tokens
        .get(at)
        .is_some_and(|token| is_word(token, "OPTIONS"))
    {
        return Ok(at);
    }
    if token(at + 1) != Some(&Token::LParen) {
        return Err(wrong(at + 1));
    }
    let mut at = at + 2;
    loop {
        let Some(Token::Word(name)) = token(at) else {
            return Err(wrong(at));
        };
        if token(at + 1) != Some(&Token::Eq) {
            return Err(wrong(at + 1));
        }
        let (negative, value_at) = match token(at + 2) {
            Some(Token::Minus) => (true, at + 3),
            _ => (false, at + 2),
        };
        let value = match token(value_at) {
            Some(Token::Number(number, _)) if negative => format!("-{number}"),
            Some(Token::Number(number, _)) => number.clone(),
            Some(Token::SingleQuotedString(text)) if !negative => text.clone(),
            Some(Token::Word(word)) if !negative => word.value.clone(),
            _ => return Err(wrong(value_at)),
        };
        set(into, &name.value, &value)?;
        match token(value_at + 1) {
            Some(Token::Comma) => at = value_at + 2,
            Some(Token::RParen) => return Ok(value_at + 2),
            _ => return Err(wrong(value_at + 1)),
        }
    }
}

fn set(into: &mut Statement, name: &str, value: &str) -> Result<(), Refusal> {
    let bad = |message: String| Refusal::new(ErrorCode::InvalidParameter, message, "");
    let real = || {
        value
            .parse::<f64>()
            .map_err(|_| bad(format!("`{value}` is no number")))
    };
    let named = name.to_ascii_lowercase();
    let whole = || {
        let count = value.parse::<u64>().ok().filter(|count| *count > 0);
        count.ok_or_else(|| bad(format!("{named} must be a whole number from 1")))
    };
    let flag = || match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(bad(format!("`{named}` is true or false, not `{value}`"))),
    };
    let twice = match named.as_str() {
        "epsilon" => {
            let epsilon = Epsilon::try_from(real()?).map_err(|e| bad(e.to_string()))?;
            into.epsilon.replace(epsilon).is_some()
        }
        "delta" => {
            let delta = Delta::try_from(real()?).map_err(|e| bad(e.to_string()))?;
            into.delta.replace(delta).is_some()
        }
        "max_groups_contributed" => into.max_groups_contributed.replace(whole()?).is_some(),
        "max_rows_contributed" => into.max_rows_contributed.replace(whole()?).is_some(),
        "max_total_contributed" => {
            let total = real()?;
            if !(total > 0.0 && total <= 1e15) {
                return Err(bad(
                    "max_total_contributed must be a number above 0".to_owned()
                ));
            }
            into.max_total_contributed.replace(total).is_some()
        }
        "bounds" => {
            let bounds = match value.to_ascii_lowercase().as_str() {
                "automatic" => Bounds::Automatic,
                "declared" => Bounds::Declared,
                "found" => Bounds::Found,
                other => {
                    return Err(bad(format!(
                        "bounds must be 'automatic', 'declared' or 'found', not '{other}'"
                    )));
                }
            };
            into.bounds.replace(bounds).is_some()
        }
        "uncertainty" => {
            let total = match value.to_ascii_lowercase().as_str() {
                "noise" => false,
                "total" => true,
                _ => {
                    return Err(bad(format!(
                        "`uncertainty` is 'noise' or 'total', not `{value}`"
                    )));
                }
            };
            into.total.replace(total).is_some()
        }
        "clamp" => into.clamp.replace(flag()?).is_some(),
        "consistent" => into.consistent.replace(flag()?).is_some(),
        "accuracy" => {
            let accuracy: Accuracy = value
                .parse()
                .map_err(|error| bad(format!("`{value}`: {error}")))?;
            into.accuracy.replace(accuracy).is_some()
        }
        "privacy_unit_column" => {
            return refuse(
                ErrorCode::InvalidParameter,
                "`privacy_unit_column` is not for a question to say",
                "The owner of each table has declared it. Leave it out.",
            );
        }
        other => {
            return refuse(
                ErrorCode::InvalidParameter,
                format!("there is no option `{other}`"),
                match nearest(other, NAMES) {
                    Some(close) => format!("Did you mean `{close}`?"),
                    None => format!("The options are {}.", NAMES.join(", ")),
                },
            );
        }
    };
    if twice {
        return Err(bad(format!("the option `{named}` is there twice")));
    }
    Ok(())
}

/// The text with the given stretches turned into spaces; lines stay lines.
fn blank(sql: &str, stretches: &[(Location, Location)]) -> String {
    let (mut line, mut column) = (1_u64, 1_u64);
    sql.chars()
        .map(|c| {
            let here = (line, column);
            if c == '\n' {
                line += 1;
                column = 1;
                return c;
            }
            column += 1;
            let inside = stretches.iter().any(|(start, end)| {
                (start.line, start.column) <= here && here < (end.line, end.column)
            });
            if inside { ' ' } else { c }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_words_become_blanks_and_the_rest_stays_in_place() {
        let sql = "explain /* x */ privacy\nSELECT WITH Differential_Privacy OPTIONS(epsilon = 0.5,\n delta = 1e-6, max_groups_contributed=3) site FROM t";
        let taken = take(sql).expect("valid");
        assert!(taken.explain);
        assert_eq!(taken.epsilon.map(Epsilon::nano), Some(500_000_000));
        assert_eq!(taken.delta.map(Delta::atto), Some(1_000_000_000_000));
        assert_eq!(taken.max_groups_contributed, Some(3));
        assert_eq!(
            taken.sql.split_whitespace().collect::<Vec<_>>().join(" "),
            "SELECT site FROM t"
        );
        assert_eq!(taken.sql.find("site"), sql.find("site"));
    }

    #[test]
    fn words_and_texts_are_values_too() {
        let sql = "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(uncertainty = 'Total', clamp = TRUE) 1";
        let taken = take(sql).expect("valid");
        assert_eq!((taken.total, taken.clamp), (Some(true), Some(true)));
        assert_eq!(
            taken.sql.split_whitespace().collect::<Vec<_>>(),
            ["SELECT", "1"]
        );
    }

    #[test]
    fn strings_comments_and_quoted_names_are_left_alone() {
        for sql in [
            "SELECT 'WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 1)' FROM t",
            "SELECT 1 -- EXPLAIN PRIVACY WITH DIFFERENTIAL_PRIVACY OPTIONS(x)\n FROM t",
            "SELECT \"with\" AS \"differential_privacy\" FROM t",
            "WITH t AS (SELECT 1) SELECT 'å' FROM t",
        ] {
            let taken = take(sql).expect("valid");
            assert_eq!(taken.sql, sql);
            assert!(!taken.explain);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (sql, part) in [
            (
                "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilom = 1) 1",
                "epsilom",
            ),
            (
                "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = -1) 1",
                "epsilon must",
            ),
            (
                "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 1, epsilon = 2) 1",
                "twice",
            ),
            (
                "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon 1) 1",
                "`1` can't",
            ),
            (
                "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 1",
                "the end",
            ),
            (
                "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(privacy_unit_column = p) 1",
                "not for a question to say",
            ),
            (
                "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = (1)) 1",
                "can't stand",
            ),
            (
                "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(clamp = perhaps) 1",
                "true or false",
            ),
            (
                "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(uncertainty = 'all') 1",
                "'noise' or 'total'",
            ),
            (
                "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(accuracy = 'good') 1",
                "'±5% of 2000'",
            ),
            ("SELECT 'open", "Unterminated"),
        ] {
            let refusal = take(sql).expect_err(sql);
            assert!(refusal.message.contains(part), "{sql}: {refusal}");
        }
    }

    #[test]
    fn long_chains_and_deep_nests_are_refused_before_parsing() {
        for sql in [
            format!("SELECT {}1", "1+".repeat(20_000)),
            format!("SELECT {}1{}", "(".repeat(1_000), ")".repeat(1_000)),
            format!("SELECT 1 WHERE {}", vec!["a = 1"; 1_000].join(" OR ")),
            format!("SELECT {}1", "NOT ".repeat(1_000)),
            "x".repeat(1 << 20),
        ] {
            assert_eq!(take(&sql).expect_err("too large").code, ErrorCode::TooLarge);
        }
    }
}
