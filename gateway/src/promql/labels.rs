//! The labels of a series, cheap to copy and to compare.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The label that holds a series' name.
pub const NAME: &str = "__name__";

/// One label: name and value, never empty.
pub type Label = (Arc<str>, Arc<str>);

/// Name and labels of a series. Labels are sorted by name; a label with an empty value is no label.
///
/// The name is kept apart, since most functions drop it, and all series of one point share the rest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels {
    name: Arc<str>,
    rest: Arc<[Label]>,
}

impl Default for Labels {
    /// No name, no label.
    fn default() -> Self {
        Self { name: "".into(), rest: [].into() }
    }
}

impl Labels {
    /// A series' name and its other labels.
    pub fn new(name: impl Into<Arc<str>>, rest: Arc<[Label]>) -> Self {
        Self { name: name.into(), rest }
    }

    /// From a map, in which `__name__` may be.
    pub fn from_map(mut map: BTreeMap<String, String>) -> Self {
        let name = map.remove(NAME).unwrap_or_default();
        let rest = map.into_iter().filter(|(_, value)| !value.is_empty());
        Self { name: name.into(), rest: rest.map(|(name, value)| (name.into(), value.into())).collect() }
    }

    /// The value of a label; empty when it is not there.
    pub fn get(&self, name: &str) -> &str {
        if name == NAME {
            return &self.name;
        }
        // A handful: faster than a binary search.
        self.rest.iter().find(|(have, _)| **have == *name).map_or("", |(_, value)| value)
    }

    /// The series' name; empty when it has none.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// All labels but the name.
    pub fn rest(&self) -> &Arc<[Label]> {
        &self.rest
    }

    /// All labels, the name first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let name = (!self.name.is_empty()).then_some((NAME, &*self.name));
        name.into_iter().chain(self.rest.iter().map(|(name, value)| (&**name, &**value)))
    }

    /// Without the name.
    pub fn without_name(&self) -> Self {
        Self { name: Self::default().name, rest: Arc::clone(&self.rest) }
    }

    /// Only labels of these names, the name only when it is among them.
    pub fn keep(&self, names: &[String]) -> Self {
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        let name = if has(NAME) { Arc::clone(&self.name) } else { "".into() };
        Self { name, rest: self.rest.iter().filter(|(name, _)| has(name)).cloned().collect() }
    }

    /// Without labels of these names; the name goes only when it is among them.
    pub fn drop(&self, names: &[String]) -> Self {
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        let name = if has(NAME) { "".into() } else { Arc::clone(&self.name) };
        if !self.rest.iter().any(|(name, _)| has(name)) {
            return Self { name, rest: Arc::clone(&self.rest) };
        }
        Self { name, rest: self.rest.iter().filter(|(name, _)| !has(name)).cloned().collect() }
    }

    /// With one label set; an empty value removes it.
    pub fn with(&self, name: &str, value: &str) -> Self {
        if name == NAME {
            return Self { name: value.into(), rest: Arc::clone(&self.rest) };
        }
        let mut rest: Vec<Label> = self.rest.iter().filter(|(have, _)| **have != *name).cloned().collect();
        if !value.is_empty() {
            let place = rest.partition_point(|(have, _)| **have < *name);
            rest.insert(place, (name.into(), value.into()));
        }
        Self { name: Arc::clone(&self.name), rest: rest.into() }
    }
}

impl std::fmt::Display for Labels {
    /// `name{a="1", b="2"}`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pairs: Vec<String> = self.rest.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        write!(f, "{}{{{}}}", self.name, pairs.join(", "))
    }
}

/// Whether a text may be the name of a label here: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_label_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_set_kept_and_dropped() {
        let labels = Labels::default().with("b", "2").with(NAME, "x").with("a", "1").with("c", "3");
        assert_eq!(labels.to_string(), r#"x{a="1", b="2", c="3"}"#);
        let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(labels.keep(&names(&["c", "z"])).to_string(), r#"{c="3"}"#);
        assert_eq!(labels.keep(&names(&[NAME])).to_string(), "x{}");
        assert_eq!(labels.drop(&names(&["b"])).to_string(), r#"x{a="1", c="3"}"#);
        assert_eq!(labels.without_name().with("a", "").to_string(), r#"{b="2", c="3"}"#);
        assert_eq!((labels.get("b"), labels.get(NAME), labels.get("z")), ("2", "x", ""));
        assert_eq!(labels.without_name().with(NAME, "x"), labels);
    }
}
