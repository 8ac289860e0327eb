//! TLS and mutual TLS against a mosquitto with certificates made here.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

use super::versions::both;
use super::*;

const NAME: &str = "broker.test";

/// An authority that has issued a certificate to a broker and one to us, as PEM files.
struct Authority<'a>(Issuer<'a, KeyPair>);

impl Authority<'_> {
    fn new(directory: &Path, name: &str) -> Self {
        let mut parameters = CertificateParams::new(Vec::<String>::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        std::fs::write(directory.join(format!("{name}.pem")), certificate.pem()).unwrap();
        Self(Issuer::new(parameters, key))
    }

    fn issue(&self, directory: &Path, name: &str, usage: ExtendedKeyUsagePurpose) {
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.extended_key_usages.push(usage);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.0).unwrap();
        std::fs::write(directory.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

fn tls(directory: &Path, authority: &str, identity: Option<&str>) -> Option<TlsSettings> {
    let file = |name: String| directory.join(name);
    Some(TlsSettings {
        server_name: NAME.into(),
        ca_file: Some(file(format!("{authority}.pem"))),
        identity: identity.map(|name| TlsIdentity { certificate_file: file(format!("{name}.pem")), key_file: file(format!("{name}.key")) }),
    })
}

#[tokio::test]
async fn the_broker_is_known_by_its_certificate_and_knows_us_by_ours() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().to_owned();
    let (right, wrong) = (Authority::new(&at, "right"), Authority::new(&at, "wrong"));
    right.issue(&at, NAME, ExtendedKeyUsagePurpose::ServerAuth);
    right.issue(&at, "gateway", ExtendedKeyUsagePurpose::ClientAuth);
    wrong.issue(&at, "stranger", ExtendedKeyUsagePurpose::ClientAuth);
    std::fs::write(at.join("empty.pem"), "").unwrap();
    let certificates = format!("cafile DIRECTORY/right.pem\ncertfile DIRECTORY/{NAME}.pem\nkeyfile DIRECTORY/{NAME}.key\n");
    let broker = Broker::start_in(directory, &certificates);
    for settings in both(broker.port) {
        let mut running = start(MqttSettings { tls: tls(&at, "right", None), ..settings.clone() }, vec![topic("m", &[("v", 1)])]);
        running.link(true).await;
        running.stop().await;
        let other_name = tls(&at, "right", None).map(|tls| TlsSettings { server_name: "other.test".into(), ..tls });
        for (tls, wanted) in [
            (tls(&at, "wrong", None), "set `ca_file` to the certificate of the one that did"),
            (tls(&at, "empty", None), "empty.pem: holds no certificate in PEM"),
            (tls(&at, "absent", None), "absent.pem: No such file"),
            (other_name, "set `server_name` to the one it is for"),
            (None, "the port speaks TLS only (`tls = {}`)"),
        ] {
            let mut running = start(MqttSettings { tls, ..settings.clone() }, vec![topic("m", &[("v", 1)])]);
            let why = running.link(false).await;
            assert!(why.contains(wanted), "{why}");
            assert!(running.health.devices()["meter"].last_error.as_deref().unwrap().contains(wanted));
            running.stop().await;
        }
    }
    drop(broker);
}

#[tokio::test]
async fn a_broker_that_wants_a_certificate_gets_ours() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().to_owned();
    let (right, wrong) = (Authority::new(&at, "right"), Authority::new(&at, "wrong"));
    right.issue(&at, NAME, ExtendedKeyUsagePurpose::ServerAuth);
    right.issue(&at, "gateway", ExtendedKeyUsagePurpose::ClientAuth);
    wrong.issue(&at, "stranger", ExtendedKeyUsagePurpose::ClientAuth);
    std::fs::write(at.join("mixed.pem"), std::fs::read(at.join("gateway.pem")).unwrap()).unwrap();
    std::fs::write(at.join("mixed.key"), std::fs::read(at.join("stranger.key")).unwrap()).unwrap();
    let certificates =
        format!("cafile DIRECTORY/right.pem\ncertfile DIRECTORY/{NAME}.pem\nkeyfile DIRECTORY/{NAME}.key\nrequire_certificate true");
    let broker = Broker::start_in(directory, &certificates);
    for settings in both(broker.port) {
        let settings = |tls| MqttSettings { tls, ..settings.clone() };
        let mut running = start(settings(tls(&at, "right", Some("gateway"))), vec![topic("m", &[("v", 1)])]);
        running.link(true).await;
        running.stop().await;
        for (tls, wanted) in [
            // The broker's word gets lost when it hangs up at once; then both possible reasons are told.
            (tls(&at, "right", None), "`certificate_file`"),
            (tls(&at, "right", Some("stranger")), "ertificate"),
            (tls(&at, "right", Some("mixed")), "`certificate_file` and `key_file` cannot be used"),
        ] {
            let mut running = start(settings(tls), vec![topic("m", &[("v", 1)])]);
            let why = running.link(false).await;
            assert!(why.contains(wanted) && !why.contains("PRIVATE"), "{why}");
            running.stop().await;
        }
    }
    drop(broker);
}

/// Messages and acknowledgements in both directions, more than one TLS record.
#[tokio::test]
async fn messages_pass_over_tls() {
    const COUNT: usize = 5_000;
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().to_owned();
    let right = Authority::new(&at, "right");
    right.issue(&at, NAME, ExtendedKeyUsagePurpose::ServerAuth);
    // A second listener without TLS is for the publisher.
    let plain = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let certificates =
        format!("cafile DIRECTORY/right.pem\ncertfile DIRECTORY/{NAME}.pem\nkeyfile DIRECTORY/{NAME}.key\nlistener {plain} 127.0.0.1");
    let broker = Broker::start_in(directory, &certificates);
    for settings in both(broker.port) {
        let mut running = start(MqttSettings { tls: tls(&at, "right", None), ..settings }, vec![topic("m", &[("v", 1)])]);
        running.link(true).await;
        publish_numbers(plain, "m", "", COUNT).await;
        assert_eq!(running.durable(COUNT).await, (0..COUNT).map(|number| format!("1={number}")).collect::<Vec<_>>());
        running.stop().await;
    }
}
