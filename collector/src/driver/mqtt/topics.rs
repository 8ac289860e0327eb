//! Which mapping belongs to the topic of a message.
//!
//! A topic that is written out in the config goes to the mappings written for it; any other goes to all filters with `+` or
//! `#` that match it (MQTT 3.1.1, 4.7). What was found is remembered, so that a topic is matched once.

use std::collections::HashMap;
use std::sync::Arc;

/// Levels of a topic whose filters are all told: each level doubles them, so many make 383.
const LEVELS_MAX: usize = 7;
/// Bytes of such a topic, and of one that is remembered.
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
        if self.remembered < REMEMBERED_MAX && topic.len() <= TOPIC_BYTES_MAX {
            self.remembered += 1;
            self.exact.insert(topic.into(), Arc::clone(&found));
        }
        found
    }
}

/// What to subscribe for the filters of devices, each with its QoS, and for `discover`; and what of the devices' is left out
/// because one of `discover` covers it. Of two on one filter the higher QoS counts, so it does for what covers others.
pub fn subscriptions<'d>(mut wanted: Vec<(String, u8)>, discover: impl Iterator<Item = &'d str>) -> (Vec<(String, u8)>, Vec<String>) {
    wanted.sort();
    // The higher QoS comes first.
    wanted.reverse();
    wanted.dedup_by(|later, earlier| later.0 == earlier.0);
    let mut covered = Vec::new();
    for filter in discover {
        let mut qos = 0;
        wanted.retain(|(other, other_qos)| {
            let is_covered = covers(filter, other);
            if is_covered {
                qos = qos.max(*other_qos);
                if other != filter {
                    covered.push(other.clone());
                }
            }
            !is_covered
        });
        wanted.push((filter.to_owned(), qos));
    }
    (wanted, covered)
}

/// Whether every topic that matches `other` matches `filter`, too. A shared subscription is a subscription of its own.
fn covers(filter: &str, other: &str) -> bool {
    if other.starts_with('$') || filter.starts_with('$') {
        return filter == other;
    }
    let (mut wide, mut narrow) = (filter.split('/'), other.split('/'));
    loop {
        match (wide.next(), narrow.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(level)) if level != "#" => {}
            (Some(one), Some(level)) if one == level => {}
            _ => return false,
        }
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
    fn a_filter_covers_what_it_matches_at_least() {
        for (filter, other, wanted) in [
            ("a/#", "a/b/c", true),
            ("a/#", "a", true),
            ("a/#", "a/+/c/#", true),
            ("a/+", "a/b", true),
            ("a/+", "a/+", true),
            ("a/+", "a/#", false),
            ("a/b", "a/+", false),
            ("a/+/c", "a/b/c/d", false),
            ("#", "$share/g/a", false),
            ("a/b", "a", false),
        ] {
            assert_eq!(covers(filter, other), wanted, "{filter} {other}");
        }
    }

    #[test]
    fn what_is_covered_is_subscribed_once_with_the_highest_qos() {
        let wanted = [("p/a/x", 0), ("p/b/x", 1), ("p/b/x", 0), ("q", 1), ("$share/g/p/c", 1)];
        let wanted = || wanted.iter().map(|(filter, qos)| (String::from(*filter), *qos)).collect::<Vec<_>>();
        let (all, covered) = subscriptions(wanted(), ["p/+/x"].into_iter());
        assert_eq!(all, [("q".into(), 1), ("$share/g/p/c".into(), 1), ("p/+/x".into(), 1)]);
        assert_eq!(covered, ["p/b/x", "p/a/x"]);
        let (all, covered) = subscriptions(wanted(), std::iter::empty());
        assert_eq!((all.len(), covered.len()), (4, 0));
        assert!(all.contains(&("p/b/x".into(), 1)));
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

    #[test]
    fn topics_of_others_fill_no_memory() {
        let mut topics = Topics::default();
        topics.add("#", 0);
        for length in [TOPIC_BYTES_MAX, TOPIC_BYTES_MAX + 1, 65_535] {
            assert_eq!(topics.find("x".repeat(length).as_bytes())[..], [0]);
        }
        assert_eq!(topics.exact.keys().map(|topic| topic.len()).collect::<Vec<_>>(), [TOPIC_BYTES_MAX]);
        for number in 0..=REMEMBERED_MAX {
            topics.find(number.to_string().as_bytes());
        }
        assert_eq!(topics.exact.len(), REMEMBERED_MAX);
    }
}
