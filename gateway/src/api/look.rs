//! A park whose values move, served for a person to look at the page: not a test of anything by itself.
//!
//! `cargo test -p parkgate-gateway --features demo --lib api::look -- --ignored`, then open http://127.0.0.1:18999.

use std::sync::Arc;
use std::time::Duration;

use parkgate_collector::catalogue::{Catalogue, Enterprise, Link, Point};
use parkgate_collector::clock::{Clock, SystemClock};
use parkgate_collector::health::State as HealthState;
use parkgate_collector::model::{Kind, Medium, Origin, Quality, Reason, Sample, Status, Step, UtcMillis};

use super::fake::{self, PointRow, device, modbus_link, mqtt_link, names, sample, start};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "for looking at the page: runs for LOOK_SECONDS (60)"]
async fn look() {
    let seconds = std::env::var("LOOK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60u64);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let boot_id = clock.now().utc.to_string();
    let served = start("127.0.0.1:18999", moving_park(), Some(Arc::clone(&clock)), &boot_id).await;
    served.readiness.set("journal", Ok(()));
    served.readiness.set("history", Ok(()));
    let points: Vec<_> = moving_park().points.clone();
    let begun = clock.now().utc;
    let value_at = |point: &Point, time: UtcMillis| {
        let phase = (time.0 as f64 / 900_000.0 + f64::from(point.id.0)).sin() + fastrand::f64() * 0.15;
        match point.identity.kind {
            Kind::Counter => 123_456_789 + (time.since(begun) + 3_600_000) / 1000 * i64::from(point.id.0 % 7 + 1),
            Kind::State => 1,
            Kind::Gauge => (phase * 800.0 + 1_000.0) as i64 + i64::from(point.id.0) * 100,
        }
    };
    for back in (1..=360).rev() {
        for point in &points {
            // A gap in one, nothing at all in another.
            if point.id.0 != 12 && !(point.id.0 == 3 && (100..200).contains(&back)) {
                let time = begun.plus(-10_000 * back);
                served.record.push(sample(point.id.0, time, value_at(point, time)));
            }
        }
    }
    for _ in 0..seconds {
        let now = clock.now().utc;
        for point in &points {
            let silent = ["delta/outlet", "bloom/gas"].contains(&point.device.as_str());
            let good = Status::new(Quality::Good, Reason::None, Origin::Simulated, Step::None);
            let status = match point.id.0 {
                7 => Status::new(Quality::Uncertain, Reason::Range, Origin::Simulated, Step::None),
                9 => Status::new(Quality::Bad, Reason::DeviceException, Origin::Simulated, Step::None).without_number(),
                _ => good,
            };
            if !silent && point.id.0 != 12 && fastrand::bool() {
                served.record.push(Sample { status, ..sample(point.id.0, now, value_at(point, now)) });
            }
        }
        for device in ["acme/main", "acme/press", "acme/pv", "bloom/main", "delta/main", "delta/pile-1", "delta/pile-2"] {
            served.health.device(device, |health| health.ok(now, 4));
        }
        served.health.device("bloom/stack", |health| {
            health.error(now, HealthState::Degraded, "unit 7 refuses holding registers 40-43: illegal data address (exception 2)");
        });
        served.health.device("bloom/gas", |health| {
            if health.state != HealthState::Down {
                health.error(begun.plus(-754_000), HealthState::Down, "no message for 5 min on park/bloom/gas/telemetry");
            }
        });
        served.health.link("line-1", |health| health.ok(now, 4));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn moving_park() -> Catalogue {
    use Kind::{Counter, Gauge, State};
    use Medium::{Charging, Emission, Gas, Power, Water};
    let (line, broker) = (modbus_link("line-1"), mqtt_link("broker"));
    let device = |id: &str, zh: &str, en: &str, enterprise: Option<&str>, link: &Arc<Link>, rows: &[PointRow<'_>]| {
        device(id, names(zh, en), enterprise, link, Origin::Simulated, rows)
    };
    let devices = vec![
        device(
            "acme/main",
            "1号进线总表",
            "Main meter 1",
            Some("acme"),
            &line,
            &[
                (1, "power", "有功功率", "Active power", "active_power", Power, Gauge, "kW", 1),
                (2, "energy", "正向有功电能", "Energy import", "energy_import", Power, Counter, "kWh", 2),
                (3, "voltage", "A相电压", "Voltage phase A", "voltage_a", Power, Gauge, "V", 1),
                (4, "pf", "功率因数", "Power factor", "power_factor", Power, Gauge, "1", 3),
            ],
        ),
        device(
            "acme/press",
            "冲压线",
            "Press line",
            Some("acme"),
            &line,
            &[
                (5, "power", "有功功率", "Active power", "active_power", Power, Gauge, "kW", 1),
                (6, "running", "运行状态", "Running", "running", Power, State, "state", 0),
            ],
        ),
        device(
            "acme/pv",
            "屋顶光伏",
            "Rooftop PV",
            Some("acme"),
            &line,
            &[
                (7, "power", "发电功率", "Generated power", "active_power", Power, Gauge, "kW", 1),
                (8, "energy", "发电量", "Generated energy", "energy_export", Power, Counter, "kWh", 1),
            ],
        ),
        device(
            "bloom/stack",
            "锅炉烟囱",
            "Boiler stack",
            Some("bloom"),
            &line,
            &[
                (9, "so2", "二氧化硫浓度", "SO2 concentration", "so2_concentration", Emission, Gauge, "mg/m3", 2),
                (10, "nox", "氮氧化物浓度", "NOx concentration", "nox_concentration", Emission, Gauge, "mg/m3", 2),
                (11, "dust", "颗粒物浓度", "Dust concentration", "dust_concentration", Emission, Gauge, "mg/m3", 2),
                (12, "o2", "含氧量", "Oxygen", "oxygen", Emission, Gauge, "%", 2),
                (13, "flow", "烟气流量", "Flue gas flow", "flue_gas_flow", Emission, Gauge, "m3/h", 0),
                (14, "temperature", "烟气温度", "Flue gas temperature", "flue_gas_temperature", Emission, Gauge, "degC", 1),
            ],
        ),
        device(
            "bloom/gas",
            "燃气总表",
            "Gas main meter",
            Some("bloom"),
            &broker,
            &[
                (15, "volume", "标况累计气量", "Volume at 0 °C", "gas_volume", Gas, Counter, "Nm3", 1),
                (16, "flow", "标况瞬时流量", "Flow at 0 °C", "gas_flow", Gas, Gauge, "Nm3/h", 1),
            ],
        ),
        device(
            "bloom/main",
            "配电房总表",
            "Switch room meter",
            Some("bloom"),
            &line,
            &[(17, "power", "有功功率", "Active power", "active_power", Power, Gauge, "kW", 1)],
        ),
        device(
            "delta/main",
            "10 kV 进线",
            "10 kV feeder",
            None,
            &line,
            &[
                (18, "power", "有功功率", "Active power", "active_power", Power, Gauge, "kW", 1),
                (19, "energy", "正向有功电能", "Energy import", "energy_import", Power, Counter, "kWh", 2),
            ],
        ),
        device(
            "delta/outlet",
            "污水总排口",
            "Waste water outlet",
            None,
            &broker,
            &[
                (20, "cod", "化学需氧量", "COD", "cod_concentration", Water, Gauge, "mg/L", 1),
                (21, "flow", "排水流量", "Outlet flow", "water_flow", Water, Gauge, "m3/h", 2),
            ],
        ),
        device(
            "delta/pile-1",
            "1号充电桩",
            "Charging pile 1",
            None,
            &line,
            &[(22, "power", "充电功率", "Charging power", "active_power", Charging, Gauge, "kW", 1)],
        ),
        device(
            "delta/pile-2",
            "2号充电桩",
            "Charging pile 2",
            None,
            &line,
            &[(23, "power", "充电功率", "Charging power", "active_power", Charging, Gauge, "kW", 1)],
        ),
    ];
    let enterprises = [("acme", "阿克米机械有限公司", "Acme Machinery"), ("bloom", "布卢姆食品有限公司", "Bloom Foods")]
        .map(|(id, zh, en)| Enterprise { id: id.into(), name: names(zh, en) });
    fake::park(enterprises.into(), vec![line, broker], devices)
}
