//! The files by which Grafana finds boards and data source at its start. They are JSON, which is YAML as well.

use std::path::Path;

use serde::Serialize;

/// Uid of the data source.
const DATA_SOURCE_UID: &str = "parkgate";
/// How often the gateway records its own metrics; Grafana's `$__rate_interval` is at least four times that.
const SCRAPE_INTERVAL: &str = "15s";
/// A version of Prometheus whose query API is at hand: from 2.24 on Grafana asks for label values by `match[]`.
const PROMETHEUS_VERSION: &str = "2.50.0";

/// What Grafana needs to reach the gateway.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Address of the query API.
    pub url: String,
    /// File with the access token on Grafana's machine; `None` where none is demanded.
    pub token_file: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DataSources<'a> {
    api_version: u8,
    datasources: [DataSource<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DataSource<'a> {
    name: &'a str,
    uid: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    access: &'a str,
    url: &'a str,
    is_default: bool,
    editable: bool,
    json_data: JsonData<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secure_json_data: Option<SecureJsonData>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonData<'a> {
    http_method: &'a str,
    time_interval: &'a str,
    prometheus_type: &'a str,
    prometheus_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_header_name1: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SecureJsonData {
    http_header_value1: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Providers<'a> {
    api_version: u8,
    providers: [Provider<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Provider<'a> {
    name: &'a str,
    folder: &'a str,
    folder_uid: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    disable_deletion: bool,
    allow_ui_updates: bool,
    options: ProviderOptions<'a>,
}

#[derive(Serialize)]
struct ProviderOptions<'a> {
    path: &'a str,
}

/// The data source. The token stays in its file: Grafana reads it there.
pub fn data_source(reach: &Reach) -> String {
    let header = reach.token_file.as_ref().map(|file| format!("Bearer $__file{{{file}}}"));
    text(&DataSources {
        api_version: 1,
        datasources: [DataSource {
            name: "parkgate",
            uid: DATA_SOURCE_UID,
            kind: "prometheus",
            access: "proxy",
            url: &reach.url,
            is_default: true,
            editable: false,
            json_data: JsonData {
                http_method: "POST",
                time_interval: SCRAPE_INTERVAL,
                prometheus_type: "Prometheus",
                prometheus_version: PROMETHEUS_VERSION,
                http_header_name1: header.as_ref().map(|_| "Authorization"),
            },
            secure_json_data: header.map(|http_header_value1| SecureJsonData { http_header_value1 }),
        }],
    })
}

/// The folder of boards; `path` is where Grafana finds their files.
pub fn provider(path: &Path) -> String {
    text(&Providers {
        api_version: 1,
        providers: [Provider {
            name: "parkgate",
            folder: "园区 Park",
            folder_uid: "parkgate",
            kind: "file",
            disable_deletion: true,
            allow_ui_updates: false,
            options: ProviderOptions { path: &path.to_string_lossy() },
        }],
    })
}

fn text(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).expect("plain data");
    format!("{text}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_named_and_never_written() {
        let url = "http://127.0.0.1:8420/prometheus".to_owned();
        let text = data_source(&Reach { url: url.clone(), token_file: Some("/etc/grafana/parkgate.token".into()) });
        let written: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let source = &written["datasources"][0];
        assert_eq!(source["jsonData"]["httpHeaderName1"], "Authorization");
        assert_eq!(source["secureJsonData"]["httpHeaderValue1"], "Bearer $__file{/etc/grafana/parkgate.token}");
        let open: serde_json::Value = serde_json::from_str(&data_source(&Reach { url, token_file: None })).expect("JSON");
        assert!(open["datasources"][0].get("secureJsonData").is_none());
        assert!(open["datasources"][0]["jsonData"].get("httpHeaderName1").is_none());
    }

    #[test]
    fn boards_come_from_their_folder_and_stay_as_they_are() {
        let written: serde_json::Value = serde_json::from_str(&provider(Path::new("/srv/boards"))).expect("JSON");
        let provider = &written["providers"][0];
        assert_eq!((&provider["options"]["path"], &provider["allowUiUpdates"]), (&"/srv/boards".into(), &false.into()));
    }
}
