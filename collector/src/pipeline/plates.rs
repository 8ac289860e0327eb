//! What the comparison of energy, power and nameplate says goes to the health board, the metrics and the log.

use std::collections::HashMap;

use prometheus::{Gauge, IntGauge};
use tracing::{info, warn};

use crate::catalogue::Catalogue;
use crate::health::HealthBoard;
use crate::metrics::Metrics;
use crate::model::Sample;
use crate::normalise::nameplate::{Nameplates, Told};

/// The checks of all devices, and where what they say is told.
pub struct Plates {
    checks: Nameplates,
    health: HealthBoard,
    gauges: HashMap<String, (Gauge, IntGauge)>,
}

impl Plates {
    /// The checks that a catalogue asks for.
    pub fn new(catalogue: &Catalogue, metrics: &Metrics, health: HealthBoard) -> Self {
        let checks = Nameplates::new(catalogue);
        let mut gauges = HashMap::new();
        for device in checks.devices().filter_map(|id| catalogue.device(id)) {
            let labels = [device.link.driver.name(), device.link.id.as_str(), device.id.as_str()];
            let doubt = metrics.nameplate_doubt.with_label_values(&labels);
            // There from the start, so that a rule on it need not be told of devices that were never compared.
            doubt.set(0);
            gauges.insert(device.id.clone(), (metrics.nameplate_ratio.with_label_values(&labels), doubt));
        }
        Self { checks, health, gauges }
    }

    /// Goes on with the devices of another catalogue. Checks of which anything changed begin anew: a ratio that was mended
    /// there no longer raises its doubt, nor does one of a device that is not checked any more.
    pub(super) fn set_catalogue(&mut self, catalogue: &Catalogue, metrics: &Metrics) {
        let before = std::mem::replace(self, Self::new(catalogue, metrics, self.health.clone()));
        let kept = self.checks.keep(before.checks);
        for (device, (ratio, doubt)) in before.gauges.iter().filter(|(device, _)| !kept.contains_key(*device)) {
            ratio.set(0.0);
            doubt.set(0);
            if catalogue.device(device).is_some() {
                self.health.device(device, |health| health.doubt = None);
            }
        }
        for (device, in_doubt) in kept {
            if let Some((_, doubt)) = self.gauges.get(&device) {
                doubt.set(i64::from(in_doubt));
            }
        }
    }

    /// Looks at samples that are going to be recorded.
    pub(super) fn observe(&mut self, samples: &[Sample]) {
        for sample in samples {
            if let Some(told) = self.checks.observe(sample) {
                self.tell(&told);
            }
        }
    }

    fn tell(&self, told: &Told) {
        if let Some((ratio, doubt)) = self.gauges.get(&told.device) {
            if let Some(found) = told.ratio {
                ratio.set(found);
            }
            doubt.set(i64::from(!told.doubt.is_empty()));
        }
        self.health.device(&told.device, |health| {
            match (&health.doubt, told.doubt.is_empty()) {
                (None, false) => warn!(device = told.device, doubt = told.doubt, "energy, power and nameplate disagree"),
                (Some(_), true) => info!(device = told.device, "energy, power and nameplate agree again"),
                _ => {}
            }
            health.doubt = Some(told.doubt.clone()).filter(|doubt| !doubt.is_empty());
        });
    }
}

#[cfg(test)]
mod tests;
