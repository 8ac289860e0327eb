//! Logs on standard error: logfmt or JSON lines, level from the configuration or `PARKGATE_LOG`.

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

use crate::settings::{LogFormat, LogSettings};

/// Environment variable that overrides the configured level, in the syntax of `tracing_subscriber::EnvFilter`.
const LEVEL_VARIABLE: &str = "PARKGATE_LOG";

/// Starts logging (without what the demo's embedded broker says of itself); a second call changes nothing.
pub fn start(settings: &LogSettings) {
    let filter = EnvFilter::try_from_env(LEVEL_VARIABLE)
        .or_else(|_| EnvFilter::try_new(format!("{},mqtt5=off", settings.level.name())))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let _ = match settings.format {
        LogFormat::Logfmt => registry
            .with(
                fmt::layer()
                    .event_format(tracing_logfmt::EventsFormatter::default())
                    .fmt_fields(tracing_logfmt::FieldsFormatter::default())
                    .with_writer(std::io::stderr),
            )
            .try_init(),
        LogFormat::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init(),
    };
}
