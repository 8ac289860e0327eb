//! What a query's text must be like before the parser may see it.
//!
//! The parser descends as deep as brackets nest and compiles every regular expression it meets, so both have bounds that
//! are checked on the text: length, depth and number of brackets, number of operators, number and compiled size of
//! regular expressions. Within these bounds parsing and evaluation fit the stack of [`super::STACK_BYTES`].

use promql_parser::util::unquote_string;
use regex::RegexBuilder;

use super::error::Error;

/// Longest query, in bytes.
pub const LENGTH_MAX: usize = 16 << 10;
/// Deepest nesting of brackets.
pub const DEPTH_MAX: usize = 100;
/// Most brackets; `x[5m:][5m:]` nests without being nested.
pub const BRACKETS_MAX: usize = 500;
/// Most operators of any kind: a chain of them is a tree as deep as it is long.
pub const OPERATORS_MAX: usize = 500;
/// Most regular expressions.
pub const REGEXES_MAX: usize = 16;
/// Largest compiled form of one regular expression, in bytes.
pub const REGEX_BYTES_MAX: usize = 256 << 10;

/// Words that are operators; `offset` and others only take part in a selector.
const OPERATOR_WORDS: &[&str] = &["and", "or", "unless", "atan2"];

/// Refuses what the parser should not see.
pub fn check(text: &str) -> Result<(), Error> {
    let refuse = |what: &str, most: usize| Err(Error::BadData(format!("query has more than {most} {what}")));
    if text.len() > LENGTH_MAX {
        return refuse("bytes", LENGTH_MAX);
    }
    let bytes = text.as_bytes();
    let (mut depth, mut brackets, mut operators, mut regexes) = (0_usize, 0_usize, 0_usize, 0_usize);
    let mut regex_comes = false;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let next = bytes.get(at + 1).copied();
        let mut width = 1;
        match byte {
            b'#' => width = bytes[at..].iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len() - at),
            b'"' | b'\'' | b'`' => {
                width = quoted(&bytes[at..]);
                if std::mem::take(&mut regex_comes) {
                    regexes += 1;
                    let literal = text.get(at..at + width).unwrap_or_default();
                    if let Ok(pattern) = unquote_string(literal) {
                        compile(&pattern)?;
                    }
                }
            }
            b'(' | b'[' | b'{' => {
                depth += 1;
                brackets += 1;
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'=' | b'!' if next == Some(b'~') => {
                regex_comes = true;
                width = 2;
            }
            b'=' | b'!' | b'<' | b'>' | b'+' | b'-' | b'*' | b'/' | b'%' | b'^' | b'@' => {
                operators += 1;
                // `==`, `!=`, `<=`, `>=` are one.
                width = if next == Some(b'=') { 2 } else { 1 };
            }
            _ if is_word(byte) => {
                width = bytes[at..].iter().position(|&byte| !is_word(byte)).unwrap_or(bytes.len() - at);
                let word = text.get(at..at + width).unwrap_or_default();
                operators += usize::from(OPERATOR_WORDS.iter().any(|operator| operator.eq_ignore_ascii_case(word)));
            }
            _ => {}
        }
        at += width.max(1);
        if depth > DEPTH_MAX {
            return refuse("brackets within each other", DEPTH_MAX);
        }
        if brackets > BRACKETS_MAX {
            return refuse("brackets", BRACKETS_MAX);
        }
        if operators > OPERATORS_MAX {
            return refuse("operators", OPERATORS_MAX);
        }
        if regexes > REGEXES_MAX {
            return refuse("regular expressions", REGEXES_MAX);
        }
    }
    Ok(())
}

/// Compiles a regular expression that must match from end to end, within [`REGEX_BYTES_MAX`].
pub fn compile(pattern: &str) -> Result<regex::Regex, Error> {
    // The parser wraps it in the same way, so what passes here is no larger there.
    RegexBuilder::new(&format!("^(?s:{pattern})$")).size_limit(REGEX_BYTES_MAX).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => Error::BadData(format!("regular expression {pattern:?} is too large")),
        _ => Error::BadData(format!("{pattern:?} is no regular expression")),
    })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':'
}

/// The length of a quoted text with its quotes; up to the end when it is not closed.
fn quoted(bytes: &[u8]) -> usize {
    let quote = bytes.first().copied();
    let mut at = 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if quote != Some(b'`') => at += 2,
            _ if Some(byte) == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_on_both_sides() {
        let nested = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
        let side_by_side = |count: usize| format!("x{}", "[5m:]".repeat(count));
        let chain = |count: usize| format!("1{}", "+1".repeat(count));
        let words = |count: usize| format!("x{}", " and x".repeat(count));
        let regexes = |count: usize| vec!["x{a=~\"b\"}"; count].join(" or ");
        for (good, bad) in [
            (nested(DEPTH_MAX), nested(DEPTH_MAX + 1)),
            (side_by_side(BRACKETS_MAX), side_by_side(BRACKETS_MAX + 1)),
            (chain(OPERATORS_MAX), chain(OPERATORS_MAX + 1)),
            (words(OPERATORS_MAX), words(OPERATORS_MAX + 1)),
            (regexes(REGEXES_MAX), regexes(REGEXES_MAX + 1)),
            ("x".repeat(LENGTH_MAX), "x".repeat(LENGTH_MAX + 1)),
        ] {
            assert_eq!(check(&good), Ok(()), "{}", &good[..20]);
            assert!(matches!(check(&bad), Err(Error::BadData(_))), "{}", &bad[..20]);
        }
    }

    #[test]
    fn texts_and_comments_do_not_count() {
        let text = "(".repeat(DEPTH_MAX * 2);
        for good in [format!("x{{a=\"{text}\"}}"), format!("x{{a='\\'{text}'}}"), format!("x # {text}\n"), format!("x{{a=`\\`}} # {text}")]
        {
            assert_eq!(check(&good), Ok(()), "{}", &good[..10]);
        }
        assert!(check(&format!("x{{a=`\\`}}{text}")).is_err());
        for odd in ["\"", "'\\", "x{a=~", "=~`", "#", "é\"é", "=~é\"(\""] {
            let _ = check(odd);
        }
    }

    #[test]
    fn regular_expressions_have_a_size() {
        assert_eq!(check(r#"x{a=~"acme/.*|b\\d+"}"#), Ok(()));
        for bomb in ["(a{1000}){1000}", "\\\\pL{1000}", "(((a{100}){100}){100})"] {
            assert!(matches!(check(&format!("x{{a=~ # c\n \"{bomb}\"}}")), Err(Error::BadData(_))), "{bomb}");
        }
    }
}
