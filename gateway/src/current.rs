//! What is in force until something else takes its place, for parts that live longer than a configuration.
//!
//! [`Current`] holds it. A part takes it where it needs it, or keeps what it made of it and a [`Following`], which tells when
//! there is something newer. A look for news is one atomic read.
//!
//! Who follows the journal looks for news after an entry was read and before it is taken in. A configuration is in force
//! before the first sample by it is taken, hence before that sample's entry can be read: so no sample of a new point is met
//! by a part that does not know the point yet.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::model::{PointId, PointIdentity};
use parkgate_rules::alarm::Rule;

/// What followers of the journal work by.
#[derive(Debug)]
pub struct Configured {
    /// Points, devices, names.
    pub catalogue: Arc<Catalogue>,
    /// All numbers that points have and had, from the registry.
    pub identities: Vec<(PointId, PointIdentity)>,
    /// Alarm rules.
    pub rules: Vec<Rule>,
}

/// See the module. Cheap to clone; all clones hold the same.
pub struct Current<T>(Arc<Inner<T>>);

struct Inner<T> {
    value: RwLock<Arc<T>>,
    /// One more for each value. Written under the lock of the value.
    number: AtomicU64,
}

impl<T> Current<T> {
    /// With this in force.
    pub fn new(value: Arc<T>) -> Self {
        Self(Arc::new(Inner { value: RwLock::new(value), number: AtomicU64::new(0) }))
    }

    /// What is in force.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts something else in force; what was.
    pub fn set(&self, value: Arc<T>) -> Arc<T> {
        let mut held = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
        self.0.number.fetch_add(1, Ordering::Release);
        std::mem::replace(&mut held, value)
    }

    /// What is in force, and what tells when there is something newer.
    pub fn follow(&self) -> (Arc<T>, Following<T>) {
        let held = self.0.value.read().unwrap_or_else(PoisonError::into_inner);
        let number = self.0.number.load(Ordering::Acquire);
        (Arc::clone(&held), Following { current: self.clone(), number })
    }
}

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Current<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Current").field(&self.0.number).finish()
    }
}

/// One part's look at a [`Current`].
#[derive(Debug)]
pub struct Following<T> {
    current: Current<T>,
    number: u64,
}

impl<T> Following<T> {
    /// Whether there is something newer than what was taken last.
    pub fn has_news(&self) -> bool {
        self.current.0.number.load(Ordering::Acquire) != self.number
    }

    /// Takes what is newer, if there is.
    pub fn news(&mut self) -> Option<Arc<T>> {
        if !self.has_news() {
            return None;
        }
        let (value, newer) = self.current.follow();
        *self = newer;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_told_once_to_each_that_follows() {
        let current = Current::new(Arc::new(1));
        let (first, mut one) = current.follow();
        assert_eq!((*first, one.news()), (1, None));
        assert_eq!(*current.set(Arc::new(2)), 1);
        let (second, mut other) = current.follow();
        assert_eq!((*second, other.news()), (2, None));
        assert!(one.has_news() && !other.has_news());
        current.set(Arc::new(3));
        assert_eq!((one.news().as_deref(), one.news()), (Some(&3), None), "what came in between is passed over");
        assert_eq!((other.news().as_deref(), *current.clone().get()), (Some(&3), 3));
    }
}
