//! Which mapping belongs to the topic of a message.
//!
//! A topic that is written out in the config goes to the mappings written for it; any other goes to all filters with `+` or
//! `#` that match it (MQTT 3.1.1, 4.7). What was found is remembered, so that a topic is matched once.

use std::collections::HashMap;
use std::sync::Arc;

/// Levels of a topic whose filters are all told: each level doubles them, so many make 383.
const LEVELS_MAX: usize = 7;
/// Bytes of such a topic.
const TOPIC_BYTES_MAX: usize = 1024;
/// Topics remembered beyond those of the config; when full, the rest is matched again each time.
const REMEMBERED_MAX: usize = 65_536;

/// Finds the mappings of a topic. A mapping is its index in the order of adding.
#[derive(Debug, Default)]
pub struct Topics {
    exact: HashMap<Box<[u8]>, Arc<[usize]>>,
    filters: Vec<(String, usize)>,
    remembered: usize,
}

impl Topics {
    /// Adds a filter for the mapping `index`; several mappings may share one.
    pub fn add(&mut self, filter: &str, index: usize) {
        if filter.contains(['+', '#']) {
            self.filters.push((filter.to_owned(), index));
        } else {
            let known = self.exact.entry(filter.as_bytes().into()).or_default();
            *known = known.iter().copied().chain([index]).collect();
        }
    }

    /// The mappings of a topic, none when nothing matches. All filters must have been added.
    pub fn find(&mut self, topic: &[u8]) -> Arc<[usize]> {
        if let Some(found) = self.exact.get(topic) {
            return Arc::clone(found);
        }
        let text = String::from_utf8_lossy(topic);
        let found: Arc<[usize]> = self.filters.iter().filter(|(filter, _)| matches(filter, &text)).map(|(_, index)| *index).collect();
        if self.remembered < REMEMBERED_MAX {
            self.remembered += 1;
            self.exact.insert(topic.into(), Arc::clone(&found));
        }
        found
    }
}

/// Whether a topic matches a filter: `+` is any one level, a last `#` any number of levels, the one above it included.
/// Neither matches a first level that starts with `$`.
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut wanted, mut levels) = (filter.split('/'), topic.split('/'));
    loop {
        match (wanted.next(), levels.next()) {
            (Some("#"), _) => return true,
            (Some("+"), Some(_)) => {}
            (Some(want), Some(level)) if want == level => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// Every filter that matches a topic (MQTT 3.1.1, 4.7), the topic itself among them. Of a topic beyond [`LEVELS_MAX`] or
/// [`TOPIC_BYTES_MAX`] only the topic itself.
pub fn filters_of(topic: &str) -> Vec<String> {
    if topic.len() > TOPIC_BYTES_MAX || topic.split('/').count() > LEVELS_MAX {
        return vec![topic.to_owned()];
    }
    let mut found = Vec::new();
    let mut heads = vec![String::new()];
    for (index, level) in topic.split('/').enumerate() {
        let is_system = index == 0 && level.starts_with('$');
        let longer = |head: &String, level: &str| if index == 0 { level.to_owned() } else { format!("{head}/{level}") };
        if !is_system {
            found.extend(heads.iter().map(|head| longer(head, "#")));
        }
        let levels: &[&str] = if is_system { &[level] } else { &[level, "+"] };
        heads = heads.iter().flat_map(|head| levels.iter().map(move |level| longer(head, level))).collect();
    }
    found.extend(heads.iter().map(|head| format!("{head}/#")));
    found.append(&mut heads);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_filters_of_a_topic_match_it_and_none_is_missing() {
        for (topic, count) in [("a", 5), ("a/b", 11), ("/a", 11), ("$SYS/x", 5), ("a/b/c/d/e/f/g", 383), ("a/b/c/d/e/f/g/h", 1)] {
            let filters = filters_of(topic);
            assert!(filters.iter().all(|filter| matches(filter, topic)), "{filters:?}");
            assert_eq!(filters.iter().collect::<std::collections::HashSet<_>>().len(), count, "{topic}: {filters:?}");
            assert_eq!(filters.len(), count, "{topic}");
        }
        // Every filter over the levels a, b, + and # that matches `a/b` is among them.
        let levels = ["a", "b", "+", "#"];
        let of_two = levels.iter().flat_map(|one| levels.iter().map(move |two| format!("{one}/{two}")));
        let of_three = levels.iter().flat_map(|one| levels.iter().map(move |two| format!("{one}/{two}/#")));
        let valid = |filter: &String| !filter.trim_end_matches('#').contains('#');
        let mut all: Vec<String> = levels.iter().map(|&one| one.to_owned()).chain(of_two).chain(of_three).filter(valid).collect();
        all.retain(|filter| matches(filter, "a/b"));
        let mut found = filters_of("a/b");
        all.sort();
        found.sort();
        assert_eq!(found, all);
        assert_eq!(filters_of(&"x".repeat(2_000)).len(), 1);
    }

    #[test]
    fn filters_match_as_the_standard_says() {
        for (filter, topic, wanted) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/+", "a/b", true),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("a/+/c", "a/b/c", true),
            ("+/+", "/finance", true),
            ("+", "/finance", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "ab", false),
            ("#", "a/b", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
        ] {
            assert_eq!(matches(filter, topic), wanted, "{filter} {topic}");
        }
    }

    #[test]
    fn a_written_out_topic_goes_before_filters() {
        let mut topics = Topics::default();
        for (index, filter) in ["a/+", "a/b", "a/#", "a/b"].into_iter().enumerate() {
            topics.add(filter, index);
        }
        for _ in 0..2 {
            assert_eq!(topics.find(b"a/b")[..], [1, 3]);
            assert_eq!(topics.find(b"a/c")[..], [0, 2]);
            assert_eq!(topics.find(b"b")[..], [0usize; 0]);
        }
    }
}
