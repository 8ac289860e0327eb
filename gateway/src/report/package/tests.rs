use std::collections::BTreeMap;
use std::io::Write as _;

use super::*;

fn key() -> ReportKey {
    ReportKey::from_secret(&[7; 32])
}

fn about() -> About {
    let text = |text: &str| text.to_owned();
    About {
        park: text("north"),
        outlet: text("acme/stack"),
        period: text("hour"),
        from: text("2026-10-01T00:00:00+08:00"),
        to: text("2026-11-01T00:00:00+08:00"),
        made_at: text("2026-11-23T08:00:00+08:00"),
        software: text("parkgate 1.2.3"),
    }
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("summary.json", b"{\"rows\": [1, 2, 3]}\n".to_vec()),
        ("summary.csv", b"a,b\r\n1,2\r\n1,2\r\n1,2\r\n1,2\r\n".to_vec()),
        ("marks.jsonl", Vec::new()),
    ]
}

fn small() -> Vec<u8> {
    build(about(), &files(), &key()).unwrap()
}

/// All files with their content.
fn content(package: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let archive = Archive::open(package).unwrap();
    archive.files().iter().map(|file| (file.name.to_owned(), file.read(archive::FILE_MAX).unwrap())).collect()
}

/// Packs files as anybody can, whatever their names.
fn packed(files: &[(&str, &[u8])], options: zip::write::SimpleFileOptions) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn plain() -> zip::write::SimpleFileOptions {
    zip::write::SimpleFileOptions::default().last_modified_time(zip::DateTime::default()).unix_permissions(0o644)
}

/// The package with its files changed by `change`, packed as packages are.
fn changed(change: impl FnOnce(&mut Vec<(String, Vec<u8>)>)) -> Vec<u8> {
    let package = small();
    let archive = Archive::open(&package).unwrap();
    let mut files: Vec<(String, Vec<u8>)> =
        archive.files().iter().map(|file| (file.name.to_owned(), file.read(archive::FILE_MAX).unwrap())).collect();
    change(&mut files);
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    packed(&files, plain())
}

fn refusal(package: &[u8]) -> String {
    verify(package, Some(&key().public())).unwrap_err().to_string()
}

#[test]
fn a_package_verifies_and_is_the_same_each_time() {
    let package = small();
    assert_eq!(package, small());
    let verified = verify(&package, Some(&key().public())).unwrap();
    assert!(verified.pinned && !verify(&package, None).unwrap().pinned);
    assert_eq!(verified.manifest.about, about());
    let names: Vec<&str> = verified.manifest.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["summary.json", "summary.csv", "marks.jsonl"]);
    let content = content(&package);
    assert_eq!(content["summary.csv"], files()[1].1);
    // SHA-256 of nothing, FIPS 180-4.
    assert_eq!(verified.manifest.files[2].sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    // Packed again by the same rules, it is still good; any ZIP program can read it.
    assert_eq!(verify(&changed(|_| {}), None).unwrap().manifest, verified.manifest);
    let read = zip::ZipArchive::new(std::io::Cursor::new(&package)).unwrap();
    assert_eq!(read.len(), 5);
}

/// A byte may change without notice only where it says nothing about the content: versions of ZIP, permission bits,
/// MS-DOS attributes, and in compressed data such bits as unpack to the very same bytes.
#[test]
fn no_flipped_byte_goes_unnoticed() {
    let package = small();
    let before = content(&package);
    let mut free = std::collections::BTreeSet::new();
    let mut data = std::collections::BTreeSet::new();
    let (mut local_at, starts) = (0, Archive::open(&package).unwrap());
    let mut central_at = package.len() - 22 - starts.files().iter().map(|file| 46 + file.name.len()).sum::<usize>();
    for file in starts.files() {
        // Version needed of the local header; versions, internal and external attributes of the directory.
        free.extend((local_at + 4..local_at + 6).chain(central_at + 4..central_at + 8).chain(central_at + 36..central_at + 42));
        let packed_at = local_at + 30 + file.name.len();
        let packed_bytes = usize::try_from(u32::from_le_bytes(package[local_at + 18..local_at + 22].try_into().unwrap())).unwrap();
        data.extend(packed_at..packed_at + packed_bytes);
        (local_at, central_at) = (packed_at + packed_bytes, central_at + 46 + file.name.len());
    }
    let mut unnoticed = 0;
    for at in 0..package.len() {
        for flip in [0x01, 0x20, 0x80, 0xff] {
            let mut flipped = package.clone();
            flipped[at] ^= flip;
            if verify(&flipped, None).is_ok() {
                assert!(free.contains(&at) || data.contains(&at), "byte {at} of {} flipped by {flip:#x} goes unnoticed", package.len());
                assert_eq!(content(&flipped), before, "byte {at} flipped by {flip:#x} changes what is unpacked");
                unnoticed += 1;
            }
        }
    }
    // The test sees what it looks for: versions and permissions of five files are there. All else is noticed.
    assert!((5..=300).contains(&unnoticed), "{unnoticed} of {}", package.len() * 4);
}

#[test]
fn nothing_cut_off_or_added_verifies() {
    let package = small();
    for length in 0..package.len() {
        assert!(verify(&package[..length], None).is_err(), "{length} of {} bytes verify", package.len());
    }
    for extra in [&b"\0"[..], b"PK\x05\x06", &package[package.len() - 22..]] {
        assert!(verify(&[&package[..], extra].concat(), None).is_err());
        assert!(verify(&[extra, &package[..]].concat(), None).is_err());
    }
}

#[test]
fn the_first_bad_file_is_named() {
    type Change = fn(&mut Vec<(String, Vec<u8>)>);
    let cases: [(&str, Change, &str); 11] = [
        ("changed", |files| files[1].1[0] = b'b', "summary.csv: is not what was signed"),
        ("longer", |files| files[1].1.push(b'b'), "summary.csv: is not what was signed"),
        ("two changed", |files| (files[1].1[0], files[0].1[0]) = (0, 0), "summary.json: is not what was signed"),
        ("left out", |files| drop(files.remove(2)), "marks.jsonl: is missing"),
        ("renamed", |files| files[2].0 = "remarks.jsonl".into(), "marks.jsonl: is missing"),
        ("added", |files| files.push(("extra.txt".into(), Vec::new())), "extra.txt: is not in the list of the package"),
        (
            "names swapped",
            |files| (files[0].0, files[1].0) = (files[1].0.clone(), files[0].0.clone()),
            "summary.json: is not what was signed",
        ),
        ("no list", |files| drop(files.remove(3)), "manifest.json: is missing"),
        ("no signature", |files| drop(files.remove(4)), "manifest.sig: is missing"),
        ("list changed", |files| files[3].1.push(b' '), "manifest.json: the signature is not of this list"),
        ("signature changed", |files| files[4].1[0] ^= 1, "manifest.json: the signature is not of this list"),
    ];
    for (name, change, expected) in cases {
        assert_eq!(refusal(&changed(change)), expected, "{name}");
    }
}

#[test]
fn names_that_lead_elsewhere_and_doubles_are_refused() {
    for name in ["../summary.csv", "/etc/passwd", "a/b", "c:\\x", "summary.csv ", "Summary.csv", ".hidden", "", "名.csv"] {
        let package = changed(|files| files.push((name.to_owned(), Vec::new())));
        assert!(verify(&package, None).is_err(), "`{name}` was taken");
        assert!(archive::write(&[(name, b"")]).is_err(), "`{name}` was packed");
    }
    // The packer refuses doubles, so one is made of a name of the same length.
    let mut package = changed(|files| files.push(("summary.cs_".into(), b"x".to_vec())));
    for at in 0..package.len() - 11 {
        if package[at..].starts_with(b"summary.cs_") {
            package[at + 10] = b'v';
        }
    }
    assert_eq!(refusal(&package), "summary.csv: is there twice");
    // Named one way in front of the file, another way in the directory.
    let mut package = small();
    let first = package.windows(11).position(|window| window == b"summary.csv").unwrap();
    package[first] = b't';
    assert!(refusal(&package).starts_with("summary.csv: is not packed"), "{}", refusal(&package));
    // A link instead of a file.
    let package = {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        writer.add_symlink("summary.csv", "elsewhere", plain()).unwrap();
        writer.finish().unwrap().into_inner()
    };
    assert!(refusal(&package).starts_with("summary.csv: is not packed"), "{}", refusal(&package));
}

#[test]
fn a_bomb_is_not_unpacked() {
    // 64 MiB of nothing: a list is never that long.
    let zeros = vec![0; 64 << 20];
    let package = packed(&[("manifest.json", &zeros), ("manifest.sig", b"")], plain());
    assert!(package.len() < 1 << 20);
    assert_eq!(refusal(&package), "manifest.json: is too large");
    // One that says it is short.
    let mut package = changed(|files| files[0].1 = vec![0; 1 << 20]);
    let size = (1u32 << 20).to_le_bytes();
    for at in 0..package.len() - 4 {
        if package[at..at + 4] == size {
            package[at..at + 4].copy_from_slice(&20u32.to_le_bytes());
        }
    }
    assert_eq!(refusal(&package), "summary.json: is longer than it says");
    // Many files.
    let names: Vec<String> = (0..100).map(|number| format!("f{number}")).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    assert!(verify(&packed(&many, plain()), None).is_err());
}

#[test]
fn another_key_is_told_from_the_pinned_one() {
    let other = ReportKey::from_secret(&[8; 32]);
    let forged = build(about(), &files(), &other).unwrap();
    assert!(!verify(&forged, None).unwrap().pinned, "whoever packs it can sign it with a key of their own");
    let (found, wanted) = (other.public().id(), key().public().id());
    assert_eq!(refusal(&forged), format!("manifest.json: signed with key {found}, not with key {wanted}"));
    // The list of one, the signature of the other; the key in the list replaced.
    let signature = content(&forged)["manifest.sig"].clone();
    assert_eq!(refusal(&changed(|files| files[4].1 = signature)), "manifest.json: the signature is not of this list");
    let replaced = |files: &mut Vec<(String, Vec<u8>)>| {
        let text = String::from_utf8(files[3].1.clone()).unwrap();
        files[3].1 = text.replace(&key().public().hex(), &other.public().hex()).into_bytes();
    };
    assert!(matches!(verify(&changed(replaced), None), Err(Refused::Unsigned)));
    assert!(matches!(verify(&changed(replaced), Some(&key().public())), Err(Refused::OtherKey { .. })));
}

#[test]
fn other_zip_files_are_refused_without_panic() {
    let deflated = plain().last_modified_time(zip::DateTime::from_date_and_time(2026, 1, 2, 3, 4, 6).unwrap());
    assert!(verify(&packed(&[("manifest.json", b"{}"), ("manifest.sig", b"")], deflated), None).is_err());
    assert!(verify(&packed(&[("manifest.json", b"{}"), ("manifest.sig", b"")], plain().large_file(true)), None).is_err());
    assert!(matches!(verify(&packed(&[("manifest.json", b"{}"), ("manifest.sig", b"")], plain()), None), Err(Refused::Manifest(_))));
    for bytes in [&b""[..], b"PK", &[0; 22], &[0xff; 100]] {
        assert!(verify(bytes, None).is_err());
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        proptest::prop_assert!(verify(&bytes, None).is_err());
    }

    #[test]
    fn any_overwritten_stretch_is_refused_or_says_the_same(at in 0usize..2_000, bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..40)) {
        let mut package = small();
        let before = content(&package);
        for (offset, byte) in bytes.into_iter().enumerate() {
            if let Some(place) = package.get_mut(at + offset) {
                *place = byte;
            }
        }
        if verify(&package, None).is_ok() {
            proptest::prop_assert_eq!(content(&package), before);
        }
    }
}
