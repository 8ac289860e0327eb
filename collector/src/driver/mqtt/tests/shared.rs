//! Shared subscriptions that left the configuration.

use super::*;

fn shared(filter: &str, point: u32) -> TopicMap {
    TopicMap { subscription: format!("$share/group/{filter}"), ..topic(filter, &[("v", point)]) }
}

/// Publishes on `s/x` and `m` until only `m` comes, or `s/x` just once a message.
async fn until(broker: &Broker, running: &mut Running, wanted: &[&str]) {
    for _ in 0..20 {
        broker.publish(&[("s/x", 1, r#"{"v":1}"#), ("m", 1, r#"{"v":2}"#)]).await;
        let (mut came, mut rejected) = (Vec::new(), 0);
        while !came.iter().any(|number| number == "2=2") {
            let mut batch = running.batch().await;
            rejected += batch.rejected.len();
            came.extend(show(&batch));
            batch.done.take().unwrap().send(Outcome::Durable).unwrap();
        }
        if rejected == 0 && came == wanted {
            return;
        }
    }
    panic!("the group's share still comes");
}

#[tokio::test]
async fn a_shared_subscription_that_left_the_configuration_is_given_up() {
    for settings in versions::both(0) {
        let broker = Broker::start("");
        let settings = MqttSettings { port: broker.port, ..settings };
        let folder = tempfile::tempdir().unwrap();
        let sessions = || Sessions::open(folder.path().join("mqtt.subscribed"));
        let both = || link_devices(settings.clone(), vec![shared("s/x", 1), topic("m", &[("v", 2)])]);
        let reloaded = sessions();
        let mut running = start_knowing(both(), reloaded.clone());
        running.link(true).await;
        until(&broker, &mut running, &["1=1", "2=2"]).await;
        running.stop().await;

        // Without its device, at a reload.
        let mut running = start_knowing(link_devices(settings.clone(), vec![topic("m", &[("v", 2)])]), reloaded.clone());
        assert_eq!(running.link(true).await, "connected, session kept");
        until(&broker, &mut running, &["2=2"]).await;
        running.stop().await;
        let mut running = start_knowing(both(), reloaded);
        running.link(true).await;
        until(&broker, &mut running, &["1=1", "2=2"]).await;
        running.stop().await;

        // As a subscription of its own, after a restart: each message came twice as long as there were both.
        let plain = vec![topic("s/x", &[("v", 1)]), topic("m", &[("v", 2)])];
        let mut running = start_knowing(link_devices(settings.clone(), plain), sessions());
        running.link(true).await;
        until(&broker, &mut running, &["1=1", "2=2"]).await;
        assert!(sessions().begin(&settings, &[("s/x".into(), 1), ("m".into(), 1)]).await.is_empty());
        running.stop().await;
    }
}
