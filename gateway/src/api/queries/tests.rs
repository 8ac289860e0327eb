//! The API over real sockets.

use parkgate_collector::model::{Origin, Quality, Reason, Sample, Status, Step};
use serde_json::{Value, json};

use super::super::fake::{NOW, Served, sample, small_park, start};
use super::super::tests::{get, send};

/// Two points of one device; the second's last sample is bad.
async fn served() -> Served {
    let served = start("127.0.0.1:0", small_park(), None, "boot-1").await;
    for (index, value) in [(3, 1_204), (2, 1_210), (1, 1_199)] {
        served.record.push(sample(1, NOW.plus(-10_000 * index), value));
    }
    served.record.push(sample(2, NOW.plus(-20_000), 12_345));
    served.record.push(Sample {
        status: Status::new(Quality::Bad, Reason::Timeout, Origin::Metered, Step::None).without_number(),
        ..sample(3, NOW.plus(-500), 0)
    });
    served
}

async fn ask(path: &str) -> (u16, Value) {
    let answer = get(&served().await, &format!("/prometheus/api/v1/{path}")).await;
    (answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::String(answer.body)))
}

#[tokio::test]
async fn instant_queries() {
    let power = json!({ "__name__": "park_active_power_kw", "device": "acme/main", "enterprise": "acme", "medium": "power",
        "point": "acme/main/power", "quantity": "active_power" });
    let vector = |result: Value| json!({ "status": "success", "data": { "resultType": "vector", "result": result } });
    for (query, expected) in [
        ("query=1%2B1&time=4", json!({ "status": "success", "data": { "resultType": "scalar", "result": [4, "2"] } })),
        ("query=%22a%22&time=4.5", json!({ "status": "success", "data": { "resultType": "string", "result": [4.5, "a"] } })),
        ("query=park_active_power_kw", vector(json!([{ "metric": power, "value": [1767323045.678, "119.9"] }]))),
        ("query=sum(park_energy_import_kwh)", vector(json!([{ "metric": {}, "value": [1767323045.678, "123.45"] }]))),
        // The last sample is bad, and ends what was before.
        ("query=park_gas_volume_nm3", vector(json!([]))),
        (
            "query=park_active_power_kw/0",
            vector(json!([{ "metric": { "device": "acme/main", "enterprise": "acme", "medium": "power",
            "point": "acme/main/power", "quantity": "active_power" }, "value": [1767323045.678, "+Inf"] }])),
        ),
    ] {
        assert_eq!(ask(&format!("query?{query}")).await, (200, expected), "{query}");
    }
}

#[tokio::test]
async fn range_queries_by_get_and_by_form() {
    let form = "query=sum(park_active_power_kw)&start=1767323015&end=1767323045&step=10";
    let (status, body) = ask(&format!("query_range?{form}")).await;
    // The first sample, 120.4, was taken at ...15.678, after the first step.
    let values = json!([[1_767_323_025, "120.4"], [1_767_323_035, "121"], [1_767_323_045, "119.9"]]);
    let expected = json!({ "status": "success", "data": { "resultType": "matrix", "result": [{ "metric": {}, "values": values }] } });
    assert_eq!((status, &body), (200, &expected));
    let request = format!(
        "POST /prometheus/api/v1/query_range HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let posted = send(&served().await, &request).await;
    assert_eq!((posted.status, serde_json::from_str::<Value>(&posted.body).unwrap()), (200, body));
}

#[tokio::test]
async fn labels_values_series_and_metadata() {
    let success = |data: Value| (200, json!({ "status": "success", "data": data }));
    let names = json!(["__name__", "device", "enterprise", "medium", "point", "quantity"]);
    assert_eq!(ask("labels").await, success(names));
    assert_eq!(ask("labels?limit=2").await, success(json!(["__name__", "device"])));
    assert_eq!(ask("label/medium/values").await, success(json!(["gas", "power"])));
    assert_eq!(ask("label/U__medium/values?match[]=%7Bdevice%3D%22acme/gas%22%7D").await, success(json!(["gas"])));
    let two = "label/__name__/values?match[]=park_gas_flow_nm3_per_h&match[]=park_gas_volume_nm3&start=0&end=2015-07-01T20:10:30Z";
    assert_eq!(ask(two).await, success(json!(["park_gas_flow_nm3_per_h", "park_gas_volume_nm3"])));
    assert_eq!(ask("label/nothing/values").await, success(json!([])));
    let (status, all) = ask("series?match[]=%7B__name__%3D~%22park_gas_flow_.*mean.*%22%7D").await;
    assert_eq!(status, 200);
    let listed: Vec<&str> = all["data"].as_array().unwrap().iter().map(|labels| labels["__name__"].as_str().unwrap()).collect();
    let expected = ["day", "hour", "month", "year"].map(|level| format!("park_gas_flow_{level}_mean_nm3_per_h"));
    assert_eq!(listed, expected);
    assert_eq!(
        ask("metadata?metric=park_energy_import_day_kwh").await,
        success(json!({ "park_energy_import_day_kwh": [{ "type": "gauge", "unit": "kWh",
            "help": "正向有功电能 每日累计 / Energy import total of each day" }] }))
    );
    let (_, metadata) = ask("metadata?limit=40000").await;
    assert_eq!(metadata["data"]["park_energy_import_kwh"][0]["type"], "counter");
    assert_eq!(metadata["data"].as_object().unwrap().len(), 2 * 13 + 2 * 9);
}

#[tokio::test]
async fn what_grafana_probes() {
    let success = |data: Value| (200, json!({ "status": "success", "data": data }));
    assert_eq!(ask("rules").await, success(json!({ "groups": [] })));
    assert_eq!(ask("alerts").await, success(json!({ "alerts": [] })));
    // Milliseconds where seconds belong, as Grafana sends them.
    assert_eq!(ask("query_exemplars?query=test&start=1767323045678&end=1767323045678").await, success(json!([])));
    let (status, info) = ask("status/buildinfo").await;
    assert_eq!((status, &info["data"]["application"]), (200, &json!("parkgate")));
    assert!(info["data"].get("features").is_none());
    let served = served().await;
    let missing = get(&served, "/prometheus/api/v1/format_query").await;
    assert_eq!(missing.status, 404);
    assert!(serde_json::from_str::<Value>(&missing.body).is_ok());
    let elsewhere = send(&served, "GET /prometheus/api/v1/query?query=1 HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await;
    assert_eq!(elsewhere.status, 421);
}

#[tokio::test]
async fn what_is_wrong_is_told_in_the_envelope_of_the_api() {
    for (path, status, kind, part) in [
        ("query", 400, "bad_data", "query"),
        ("query?query=sum(", 400, "bad_data", "invalid query"),
        ("query?query=histogram_quantile(0.9,x)", 400, "bad_data", "function `histogram_quantile`"),
        ("query?query=limitk(3,x)", 400, "bad_data", "aggregation `limitk`"),
        ("query?query=1&time=soon", 400, "bad_data", "time"),
        ("query_range?query=1&start=0&end=1", 400, "bad_data", "step"),
        ("query_range?query=1&start=1&end=0&step=1", 400, "bad_data", "end"),
        ("query_range?query=1&start=0&end=1&step=0", 400, "bad_data", "step"),
        ("query_range?query=1&start=0&end=11001&step=1", 400, "bad_data", "11,000 points"),
        ("query_range?query=x[5m]&start=0&end=1&step=1", 400, "bad_data", "range vector"),
        ("series", 400, "bad_data", "match[]"),
        ("labels?match[]=sum(x)", 400, "bad_data", "no series selector"),
        ("query?query=%7Bdevice%3D%22acme/main%22%7D%2Bon(device)%7Bdevice%3D%22acme/main%22%7D", 422, "execution", "many-to-many"),
    ] {
        let (got, body) = ask(path).await;
        assert_eq!((got, &body["status"], &body["errorType"]), (status, &json!("error"), &json!(kind)), "{path}: {body}");
        assert!(body["error"].as_str().unwrap().contains(part), "{path}: {body}");
    }
}

#[tokio::test]
async fn answers_are_compressed_when_asked() {
    let served = served().await;
    let query = |encoding: &str| {
        format!("GET /prometheus/api/v1/metadata HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {encoding}\r\nConnection: close\r\n\r\n")
    };
    assert!(!send(&served, &query("br, gzip;q=0")).await.head.contains("content-encoding"));
    let bytes = super::super::tests::send_bytes(&served, &query("br, gzip")).await;
    let cut = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&bytes[cut + 4..]), &mut text).unwrap();
    assert!(serde_json::from_str::<Value>(&text).unwrap()["data"].is_object());
}
