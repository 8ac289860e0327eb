//! Values that somebody read from a meter by hand: checked as those of an import, put into the record by the same path, and
//! who read them as an entry beside it, since the record tells only that they were read so.

use parkgate_collector::model::{Origin, UtcMillis};
use parkgate_rules::emission::time::UtcMillis as Time;
use serde::{Deserialize, Serialize};

use super::csv;
use super::import::{Imported, Values};
use super::rows::{self, Targets};
use crate::rollup::enter::TEXT_MAX;
use crate::store::{Entry, EntryKind, Facts, NewEntry, StoreError};

/// The body of an entry of kind `hand_reading`; its subject is the stable id of the point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandReading {
    /// When the meter was read.
    pub at: Time,
    /// What it showed, in the point's unit.
    pub value: String,
    /// Anything else, in words.
    #[serde(default)]
    pub note: Option<String>,
    /// The record had another number at that time, which is kept as a correction.
    #[serde(default)]
    pub replaced: bool,
}

/// One that is to be entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReading {
    /// Stable id of the meter's point.
    pub point: String,
    /// When it was read.
    pub at: UtcMillis,
    /// What it showed, in the point's unit.
    pub value: String,
    /// Who read it.
    pub author: String,
    /// Anything else, in words.
    pub note: Option<String>,
    /// The paper it rests on.
    pub document: Option<String>,
}

impl NewReading {
    /// The value on its way to the record.
    ///
    /// # Errors
    /// What is wrong and what to do: it is no value of the point, or not one that can be kept as it is.
    pub fn checked(&self, targets: &Targets) -> Result<Values, String> {
        let texts = [("author", Some(&self.author)), ("document", self.document.as_ref()), ("note", self.note.as_ref())];
        if let Some((name, _)) = texts.iter().find(|(_, text)| text.is_some_and(|text| text.chars().count() > TEXT_MAX)) {
            return Err(format!("the {name} is longer than {TEXT_MAX} characters; name the paper that tells the rest"));
        }
        if self.author.trim().is_empty() {
            return Err("there is no author; say who read it".into());
        }
        // The form of an import, so that it is checked like one.
        let mut writer = csv::writer(Vec::new());
        let written = writer.write_record(["point", "time_ms", "value"]);
        written
            .and_then(|()| writer.write_record([&self.point, &self.at.0.to_string(), &self.value]))
            .map_err(|error| error.to_string())?;
        let (mut good, mut refused) = (Vec::new(), Vec::new());
        let read = rows::read_csv(writer.into_inner().map_err(|error| error.to_string())?.as_slice(), targets, |row| {
            match row {
                Ok(row) if row.rounded => refused.push(format!("{} has more decimals than the point keeps", self.value)),
                Ok(row) if row.number.is_err() => refused.push(format!("`{}` is no value", self.value)),
                Ok(row) => good.push(row),
                Err(row) => refused.push(row.why),
            }
            true
        });
        read.map_err(|error| error.to_string())?;
        match refused.into_iter().next() {
            Some(why) => Err(why),
            None => Ok(Values::of(Origin::HandRead, &good)),
        }
    }

    /// Enters who read it, once the value is in the record; false when that was entered before: said once more, it is one
    /// reading still.
    ///
    /// # Errors
    /// When the entries cannot be read or written.
    pub fn enter(self, facts: &Facts, imported: Imported, now: UtcMillis) -> Result<(Entry, bool), StoreError> {
        let Self { point: subject, at, value, author, note, document } = self;
        let read = HandReading { at: Time(at.0), value, note, replaced: imported.replaced > 0 };
        let mut known = None;
        let is_this = |entry: &&Entry| {
            let same = |held: HandReading| HandReading { replaced: read.replaced, ..held } == read;
            entry.subject == subject
                && (&entry.author, &entry.document) == (&author, &document)
                && serde_json::from_value(entry.body.clone()).is_ok_and(same)
        };
        let body = serde_json::to_value(&read).map_err(|error| StoreError::Damaged(error.to_string()))?;
        let entered = facts.append_checked(EntryKind::HandReading, now, |entries| {
            known = entries.iter().rev().find(is_this).filter(|_| imported.present > 0).cloned();
            let new = || NewEntry {
                kind: EntryKind::HandReading,
                subject: subject.clone(),
                body,
                author: author.clone(),
                document: document.clone(),
            };
            Ok::<_, std::convert::Infallible>(if known.is_some() { Vec::new() } else { vec![new()] })
        })?;
        let Ok(entered) = entered;
        match (entered.into_iter().next(), known) {
            (Some(entry), _) => Ok((entry, true)),
            (None, Some(entry)) => Ok((entry, false)),
            (None, None) => Err(StoreError::Damaged("an entry of a reading cannot be read back".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Sent once more since nobody had heard the answer, it is one reading; of another author, or of a value that stood in
    /// between, it is a further one.
    #[test]
    fn what_is_said_once_more_is_one_reading() {
        let facts = Facts::open(Path::new(":memory:")).unwrap();
        let (point, value) = ("acme/main/energy".to_owned(), "12.5".to_owned());
        let reading = NewReading { point, at: UtcMillis(1_000), value, author: "eve".into(), note: None, document: None };
        let [first, present, replaced] =
            [(1, 0, 0), (0, 1, 0), (1, 0, 1)].map(|(imported, present, replaced)| Imported { imported, present, replaced });
        let enter = |reading: &NewReading, imported| reading.clone().enter(&facts, imported, UtcMillis(2_000)).unwrap();
        let (entry, is_new) = enter(&reading, first);
        assert!(is_new);
        assert_eq!(enter(&reading, present), (entry.clone(), false));
        assert!(enter(&NewReading { author: "adam".into(), ..reading.clone() }, present).1);
        assert!(enter(&reading, replaced).1);
        assert_eq!(facts.entries(EntryKind::HandReading, 0).unwrap().len(), 3);
    }
}
