//! What must hold with MQTT 3.1.1 and 5 alike.

use super::*;

/// One session expires a day after the gateway left.
const V5: MqttVersion = MqttVersion::V5 { session_expiry_s: 86_400 };
const BOTH: [MqttVersion; 2] = [MqttVersion::V3, V5];

pub(super) fn version(port: u16, version: MqttVersion) -> MqttSettings {
    MqttSettings { version, ..settings(port) }
}

pub(super) fn both(port: u16) -> [MqttSettings; 2] {
    BOTH.map(|version| self::version(port, version))
}

#[tokio::test]
async fn the_session_survives_restarts_of_either_side() {
    for version in BOTH {
        let mut broker = Broker::start("persistence true\npersistence_location DIRECTORY/");
        let settings = self::version(broker.port, version);
        let mut running = start(settings.clone(), vec![topic("m/+", &[("v", 1)])]);
        assert_eq!(running.link(true).await, "connected, new session");
        broker.publish(&[("m/a", 1, r#"{"v":1}"#)]).await;
        // Delivered and not acknowledged when both sides end.
        let held = running.held(1).await;
        running.cancel.cancel();
        drop(held);
        timeout(PATIENCE, &mut running.task).await.unwrap().unwrap();
        broker.publish(&[("m/b", 1, r#"{"v":2}"#)]).await;
        broker.ask_to_end();
        broker.up();
        // Published after the restart of the broker, before ours.
        broker.publish(&[("m/c", 1, r#"{"v":3}"#)]).await;
        let mut running = start(settings, vec![topic("m/+", &[("v", 1)])]);
        assert_eq!(running.durable(3).await, ["1=1", "1=2", "1=3"], "{version:?}");
        assert_eq!((running.new_sessions, running.link(true).await.as_str()), (0, "connected, session kept"), "{version:?}");
        // The broker alone restarts: what is subscribed stays so.
        broker.ask_to_end();
        running.link(false).await;
        broker.up();
        assert_eq!(running.link(true).await, "connected, session kept", "{version:?}");
        broker.publish(&[("m/d", 1, r#"{"v":4}"#)]).await;
        // Acknowledgements that the end of the broker overtook make what they were for come again.
        let mut last = running.durable(1).await;
        while last.last().map(String::as_str) != Some("1=4") {
            assert!(last.iter().all(|number| ["1=1", "1=2", "1=3"].contains(&number.as_str())), "{last:?}");
            last = running.durable(1).await;
        }
        running.stop().await;
    }
}

#[tokio::test]
async fn what_is_not_durable_comes_again_in_order() {
    for settings in both(0) {
        let broker = Broker::start("");
        let version = settings.version;
        let mut running = start(MqttSettings { port: broker.port, ..settings }, vec![topic("m", &[("v", 1)])]);
        running.link(true).await;
        broker.publish(&[("m", 1, r#"{"v":1}"#), ("m", 1, r#"{"v":2}"#)]).await;
        drop(running.held(2).await);
        assert!(running.link(false).await.contains("could not be made durable"));
        assert_eq!(running.link(true).await, "connected, session kept", "{version:?}");
        let again = running.held(2).await;
        assert_eq!(again.iter().flat_map(show).collect::<Vec<_>>(), ["1=1", "1=2"], "{version:?}");
        assert!(again.iter().flat_map(|batch| &batch.deliveries).all(|delivery| delivery.redelivered));
        for mut batch in again {
            batch.done.take().unwrap().send(Outcome::Durable).unwrap();
        }
        running.stop().await;
        // Stopping waited for the acknowledgements to leave.
        let mut running = start(self::version(broker.port, version), vec![topic("m", &[("v", 1)])]);
        broker.publish(&[("m", 1, r#"{"v":3}"#)]).await;
        assert_eq!(running.durable(1).await, ["1=3"], "{version:?}");
        running.stop().await;
    }
}

/// A pipeline that takes nothing: here is the window and no more, the rest is at the broker.
#[tokio::test]
async fn the_window_bounds_what_is_held_and_the_broker_holds_the_rest() {
    const COUNT: usize = 3_000;
    const WINDOW: u16 = 50;
    for version in BOTH {
        // With 3.1.1 the broker has its own window; it is told to have none.
        let broker = Broker::start(if version == V5 { "max_inflight_messages 0" } else { "max_inflight_messages 10" });
        let mut running =
            start(MqttSettings { max_in_flight: WINDOW, ..self::version(broker.port, version) }, vec![timed(topic("t", &[("v", 1)]))]);
        running.link(true).await;
        publish_numbers(broker.port, "t", ",\"t\":1764000000000", COUNT).await;
        let held = running.all_held().await;
        let mut numbers: Vec<String> = held.iter().flat_map(show).collect();
        assert!(!numbers.is_empty() && numbers.len() <= usize::from(WINDOW), "{} held, {version:?}", numbers.len());
        for mut batch in held {
            batch.done.take().unwrap().send(Outcome::Durable).unwrap();
        }
        while numbers.len() < COUNT {
            let held = running.all_held().await;
            let got: Vec<String> = held.iter().flat_map(show).collect();
            assert!(got.len() <= usize::from(WINDOW), "{} held, {version:?}", got.len());
            numbers.extend(got);
            for mut batch in held {
                batch.done.take().unwrap().send(Outcome::Durable).unwrap();
            }
            // All that is left, at full speed.
            let left = (COUNT - numbers.len()).min(COUNT - 500);
            numbers.extend(running.durable(left).await);
        }
        assert_eq!(numbers, (0..COUNT).map(|number| format!("1={number}@1764000000000")).collect::<Vec<_>>(), "{version:?}");
        running.stop().await;
    }
}

#[tokio::test]
async fn refusals_of_mqtt_5_are_told_in_words() {
    let broker = Broker::start("allow_anonymous false\npassword_file DIRECTORY/nobody");
    let with_password =
        MqttSettings { username: Some("gateway".into()), password: Some(Secret::new("wrong-secret".into())), ..version(broker.port, V5) };
    for (settings, wanted) in [(with_password, "not authorised"), (version(broker.port, V5), "not authorised")] {
        let mut running = start(settings, vec![topic("m", &[("v", 1)])]);
        let why = running.link(false).await;
        assert!(why.contains(wanted) && !why.contains("secret"), "{why}");
        running.stop().await;
    }
    let broker = Broker::start("");
    let mut first = start(version(broker.port, V5), vec![topic("m", &[("v", 1)])]);
    first.link(true).await;
    let mut second = start(version(broker.port, V5), vec![topic("m", &[("v", 1)])]);
    second.link(true).await;
    let why = first.link(false).await;
    assert!(why.contains("another client"), "{why}");
    first.cancel.cancel();
    second.cancel.cancel();
}

/// Too large for us: told at 3.1.1, kept by the broker at 5. Either way what follows arrives.
#[tokio::test]
async fn what_is_too_large_does_not_hold_up_what_follows() {
    for version in BOTH {
        let broker = Broker::start("");
        let limits = MqttSettings { max_packet_bytes: 2_000, max_readings_per_message: 3, ..self::version(broker.port, version) };
        let mut running = start(limits, vec![topic("m", &[("v", 1)])]);
        running.link(true).await;
        let (long, huge) = (format!("{{\"v\":1,\"x\":\"{}\"}}", "x".repeat(3_000)), "x".repeat(20 << 20));
        let many = r#"[{"v":1},{"v":2},{"v":3},{"v":4}]"#;
        broker.publish(&[("m", 1, many), ("m", 1, &long), ("m", 1, &huge), ("m", 1, r#"[{"v":7},{"v":8},{"v":9}]"#)]).await;
        let (mut reasons, mut numbers) = (Vec::new(), Vec::new());
        while numbers.is_empty() {
            let mut batch = running.batch().await;
            reasons.extend(batch.rejected.iter().map(|rejected| (rejected.class, rejected.reason.clone())));
            numbers.extend(show(&batch));
            // With 3.1.1 the connection is made again for what is too large; what was not acknowledged by then comes again.
            let _ = batch.done.take().unwrap().send(Outcome::Durable);
        }
        assert_eq!(numbers, ["1=7", "1=8", "1=9"], "{version:?}");
        assert!(reasons.iter().all(|(class, _)| *class == "oversized"), "{reasons:?}");
        assert!(reasons[0].1.contains("4 readings") && reasons[0].1.contains("max_readings_per_message"), "{reasons:?}");
        let told = reasons.iter().filter(|(_, reason)| reason.contains("20971520 bytes")).count();
        assert_eq!(told > 0, version == MqttVersion::V3, "{reasons:?}");
        running.stop().await;
    }
}
