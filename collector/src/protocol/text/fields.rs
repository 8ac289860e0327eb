//! The columns of one line.

/// Walks the columns of one line. A column in double quotes may hold the separator; a doubled quote within it stays doubled
/// (RFC 4180, 2.5 to 2.7), which no number and no time has. Spaces around a column are not part of it.
#[derive(Clone, Debug)]
pub struct Fields<'t> {
    rest: Option<&'t str>,
    separator: u8,
}

impl<'t> Fields<'t> {
    /// The columns of `line`, which has at least one, maybe empty. `separator` is an ASCII character.
    pub fn new(line: &'t str, separator: u8) -> Self {
        Self { rest: Some(line), separator }
    }
}

impl<'t> Iterator for Fields<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let rest = self.rest?;
        // A tab between columns is no space around them.
        let start = rest.trim_start_matches(' ');
        if let Some(inner) = start.strip_prefix('"')
            && let Some(end) = closing(inner)
        {
            let (field, after) = (inner.get(..end)?, inner.get(end.saturating_add(1)..)?);
            // What stands between the closing quote and the separator is dropped with the spaces there.
            self.rest = split(after, self.separator).1;
            return Some(field);
        }
        let (field, after) = split(rest, self.separator);
        self.rest = after;
        Some(field.trim_ascii())
    }
}

/// Where the quoted text ends: a quote that is not doubled.
fn closing(inner: &str) -> Option<usize> {
    let bytes = inner.as_bytes();
    let mut at = 0usize;
    while let Some(&byte) = bytes.get(at) {
        let next = at.saturating_add(1);
        match byte {
            b'"' if bytes.get(next) == Some(&b'"') => at = next.saturating_add(1),
            b'"' => return Some(at),
            _ => at = next,
        }
    }
    None
}

fn split(text: &str, separator: u8) -> (&str, Option<&str>) {
    match text.bytes().position(|byte| byte == separator) {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at.saturating_add(1)..)),
        None => (text, None),
    }
}
