//! A summary as a plain page to be printed: both languages, no script, nothing fetched from elsewhere.

use std::fmt::Write as _;

use super::sections::{Cell, Section, sections};
use super::summary::Summary;
use crate::forward::client::base64;

/// Media type of the page.
pub const MEDIA_TYPE: &str = "text/html; charset=utf-8";

/// The style; `POLICY` lets a browser apply this one and nothing else.
const STYLE: &str = "
@page { size: A4 landscape; margin: 12mm; }
body { font: 10pt/1.35 \"Noto Sans CJK SC\", \"Microsoft YaHei\", \"PingFang SC\", sans-serif; color: #111; margin: 1.5em; }
h1 { font-size: 16pt; margin: 0 0 .5em; }
h2 { font-size: 12pt; margin: 1.4em 0 .4em; break-after: avoid; }
table { border-collapse: collapse; width: 100%; font-size: 8pt; }
th, td { border: 1px solid #999; padding: 2px 4px; vertical-align: top; text-align: left; overflow-wrap: anywhere; }
th { background: #eee; }
thead { display: table-header-group; }
tr { break-inside: avoid; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
p.none { color: #555; }
@media print { body { margin: 0; } th { background: none; } }
";

/// What a browser may do with the page: apply its own style. The hash is that of the style's bytes.
pub fn policy() -> String {
    use sha2::{Digest as _, Sha256};
    let hash = base64(Sha256::digest(STYLE.as_bytes()));
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
}

/// The page.
pub fn write(summary: &Summary) -> String {
    let sections = sections(summary);
    let mut page = String::new();
    let title = sections.first().map(|head| head.title.both()).unwrap_or_default();
    let outlet = &summary.head.outlet;
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"zh-CN\">\n<head>\n<meta charset=\"utf-8\">\n<title>{} {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{}</h1>\n",
        escaped(&title),
        escaped(&outlet.id),
        escaped(&title),
    );
    for (number, section) in sections.iter().enumerate() {
        write_section(&mut page, section, number > 0);
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn write_section(page: &mut String, section: &Section, titled: bool) {
    let _ = writeln!(page, "<section id=\"{}\">", escaped(&section.id));
    if titled {
        let _ = writeln!(page, "<h2>{}</h2>", escaped(&section.title.both()));
    }
    if section.lines.is_empty() {
        let _ = writeln!(page, "<p class=\"none\">{}</p>\n</section>", escaped(&section.nothing.both()));
        return;
    }
    page.push_str("<table>\n<thead><tr>");
    for column in &section.columns {
        let _ = write!(page, "<th>{}</th>", escaped(&column.heading()));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for line in &section.lines {
        page.push_str("<tr>");
        for cell in line {
            let class = if matches!(cell, Cell::Number(_)) { " class=\"n\"" } else { "" };
            let _ = write!(page, "<td{class}>{}</td>", escaped(cell.text()));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n</section>\n");
}

/// So that a text is a text in any place of a page.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_escaped() {
        assert_eq!(escaped("<script>&\"'\u{0}"), "&lt;script&gt;&amp;&quot;&#39; ");
        assert!(policy().contains("style-src 'sha256-") && !policy().contains("unsafe"));
    }
}
