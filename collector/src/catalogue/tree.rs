//! A TOML text as a tree that knows where everything stands and keeps numbers as they were written.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::place::Place;
use super::problem::Problems;

/// Keys whose values are secrets.
const SECRET_KEYS: [&str; 1] = ["password"];
/// Parts of keys whose texts are masked where a configuration is shown or kept; a file's name (`token_file`) is none.
const MASKED_KEYS: [&str; 4] = ["password", "token", "secret", "credential"];

/// One value.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub span: Range<usize>,
    pub value: Value,
}

/// What it is. Numbers are text, so that no digit is lost.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(String),
    Float(String),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
}

/// A table, and which of its keys were taken out because of a problem.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub entries: Vec<Entry>,
    pub cut: Vec<String>,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub key_span: Range<usize>,
    pub node: Node,
}

impl Node {
    /// Parses a text; every syntax error is noted, and what could be read is returned.
    pub fn parse(text: &str, source: u32, problems: &mut Problems) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            problems.add(Place::new(source, &span), format!("not valid TOML: {}", error.message()), "");
        }
        let span = table.span();
        Self { span, value: Value::Table(from_table(table.into_inner())) }
    }

    /// The value of a key, if this is a table that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Table(table) => table.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node),
            _ => None,
        }
    }

    /// The text of a text.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The node of a path such as `device[0].point[1].scale`, or as near to it as there is.
    pub fn follow(&self, path: &str) -> &Node {
        let mut node = self;
        for step in path.split(['.', '[', ']']).filter(|step| !step.is_empty()) {
            let next = match &node.value {
                Value::Array(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => node.get(step),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node
    }

    /// Replaces `${NAME}` in all texts; `$${` stands for a plain `${`.
    pub fn substitute(&mut self, source: u32, variable: &dyn Fn(&str) -> Option<String>, problems: &mut Problems) {
        match &mut self.value {
            Value::Text(text) if text.contains("${") => match expand(text, variable) {
                Ok(expanded) => *text = expanded,
                Err(missing) => problems.add(Place::new(source, &self.span), missing, "set it, or write $${ for a plain ${"),
            },
            Value::Array(items) => items.iter_mut().for_each(|item| item.substitute(source, variable, problems)),
            Value::Table(table) => table.entries.iter_mut().for_each(|entry| entry.node.substitute(source, variable, problems)),
            _ => {}
        }
    }

    /// The tree as lines `path = value`, sorted, without comments and layout, to be shown or kept: texts that may be secrets
    /// are masked, and variables not put in yet stay names. A table of a list counts under its `id`, where it has one.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        self.lines_under("", false, &mut lines);
        lines.sort();
        lines
    }

    fn lines_under(&self, path: &str, is_secret: bool, lines: &mut Vec<String>) {
        let value = match &self.value {
            Value::Table(table) => {
                for entry in &table.entries {
                    let dot = if path.is_empty() { "" } else { "." };
                    let is_secret = is_secret || !entry.key.ends_with("_file") && MASKED_KEYS.iter().any(|part| entry.key.contains(part));
                    entry.node.lines_under(&format!("{path}{dot}{}", entry.key), is_secret, lines);
                }
                return;
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let name = item.get("id").and_then(Node::text).map_or_else(|| index.to_string(), str::to_owned);
                    item.lines_under(&format!("{path}[{name}]"), is_secret, lines);
                }
                return;
            }
            Value::Text(_) if is_secret => "\"****\"".to_owned(),
            Value::Text(text) => format!("{:?}", without_password(text)),
            Value::Integer(text) | Value::Float(text) | Value::Datetime(text) => text.clone(),
            Value::Boolean(flag) => flag.to_string(),
        };
        lines.push(format!("{path} = {value}"));
    }

    /// Writes the value in one fixed form without comments, layout and secrets, to be hashed.
    pub fn canonical(&self, out: &mut String) {
        match &self.value {
            Value::Text(text) => out.push_str(&format!("{text:?}")),
            Value::Integer(text) | Value::Float(text) | Value::Datetime(text) => out.push_str(text),
            Value::Boolean(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Value::Array(items) => {
                out.push('[');
                for item in items {
                    item.canonical(out);
                    out.push(',');
                }
                out.push(']');
            }
            Value::Table(table) => {
                let mut entries: Vec<&Entry> = table.entries.iter().filter(|entry| !SECRET_KEYS.contains(&entry.key.as_str())).collect();
                entries.sort_by(|a, b| a.key.cmp(&b.key));
                out.push('{');
                for entry in entries {
                    out.push_str(&format!("{:?}=", entry.key));
                    entry.node.canonical(out);
                    out.push(',');
                }
                out.push('}');
            }
        }
    }
}

fn from_table(table: DeTable<'_>) -> Table {
    let entries = table
        .into_iter()
        .map(|(key, value)| Entry {
            key_span: key.span(),
            key: key.into_inner().into_owned(),
            node: from_value(value.span(), value.into_inner()),
        })
        .collect();
    Table { entries, cut: Vec::new() }
}

fn from_value(span: Range<usize>, value: DeValue<'_>) -> Node {
    let value = match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => Value::Integer(number.to_string()),
        DeValue::Float(number) => Value::Float(number.to_string()),
        DeValue::Boolean(flag) => Value::Boolean(flag),
        DeValue::Datetime(datetime) => Value::Datetime(datetime.to_string()),
        DeValue::Array(items) => Value::Array(items.into_iter().map(|item| from_value(item.span(), item.into_inner())).collect()),
        DeValue::Table(table) => Value::Table(from_table(table)),
    };
    Node { span, value }
}

/// The text, with user and password of an address (`scheme://user:password@host`) masked.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://****@{host}{path}"),
        None => text.to_owned(),
    }
}

/// The text with its variables put in; what is missing as the error.
fn expand(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else { return Err("`${` is not closed by `}`".into()) };
        let legal = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !legal {
            return Err("`${...}` must hold the name of an environment variable".into());
        }
        out.push_str(&variable(name).ok_or_else(|| format!("environment variable `{name}` is not set"))?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_what_they_are_about_and_hold_no_secret() {
        let text = "# a comment\n[park]\nid = \"p\"\nname = { zh = \"园\" }\n[[link]]\nid = \"hall\"\npassword = \"hush\"\n\
                    password_file = \"pw\"\nport = 0x1f6\n[[link]]\nhost = \"${HOST}\"\n\
                    [gateway.forward]\napi_token = \"hush\"\nurl = \"http://me:hush@sink:1/a@b\"\nsecrets = [\"hush\"]\n\
                    [gateway.http]\nrequire_token = true\nallowed_hosts = [\"a\", \"b\"]\n";
        let lines = Node::parse(text, 0, &mut Problems::default()).lines().join("\n");
        expect_test::expect![[r#"
            gateway.forward.api_token = "****"
            gateway.forward.secrets[0] = "****"
            gateway.forward.url = "http://****@sink:1/a@b"
            gateway.http.allowed_hosts[0] = "a"
            gateway.http.allowed_hosts[1] = "b"
            gateway.http.require_token = true
            link[1].host = "${HOST}"
            link[hall].id = "hall"
            link[hall].password = "****"
            link[hall].password_file = "pw"
            link[hall].port = 0x1f6
            park.id = "p"
            park.name.zh = "园""#]]
        .assert_eq(&lines);
    }

    #[test]
    fn variables_are_put_in() {
        let variable = |name: &str| (name == "A").then(|| "x${A}".to_owned());
        for (text, expected) in [
            ("a ${A} b ${A}", Ok("a x${A} b x${A}")),
            ("$${A}", Ok("${A}")),
            ("$A", Ok("$A")),
            ("${B}", Err("environment variable `B` is not set")),
            ("${A", Err("`${` is not closed by `}`")),
            ("${}", Err("`${...}` must hold the name of an environment variable")),
        ] {
            assert_eq!(expand(text, &variable), expected.map(String::from).map_err(String::from), "{text}");
        }
    }
}
