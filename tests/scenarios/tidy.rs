//! What a machine can check about the tree itself: the direction of dependencies, the shape of files, licences, and that
//! `ARCHITECTURE.md` tells the truth. Reads sources and `cargo metadata`; runs nothing of ours.
//!
//! A failure lists every place and says what to do. A rule that is wrong is changed here, in its table, with a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Modules of the collector and the modules of the collector that each may use.
const COLLECTOR: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("clock", &["model"]),
    ("health", &["model"]),
    ("metrics", &[]),
    ("protocol", &["model"]),
    ("catalogue", &["model", "protocol"]),
    ("rejects", &["model", "metrics", "clock"]),
    ("driver", &["model", "clock", "catalogue", "protocol", "health", "metrics"]),
    ("normalise", &["model", "catalogue"]),
    ("journal", &["model", "clock", "metrics"]),
    ("pipeline", &["model", "clock", "catalogue", "driver", "normalise", "journal", "rejects", "health", "metrics"]),
    ("commission", &["model", "catalogue", "protocol", "driver", "normalise"]),
    // Simulators speak the wire's language; they know nothing of what becomes of it.
    ("sim", &["model", "clock", "catalogue", "protocol"]),
];

/// Modules of the rules and the modules of the rules that each may use.
const RULES: &[(&str, &[&str])] = &[
    ("number", &[]),
    ("period", &["number"]),
    ("factor", &["number", "period"]),
    ("meter", &["number", "period"]),
    ("emission", &["number", "period"]),
    ("alarm", &["number", "emission"]),
    ("indicator", &["number", "period", "factor", "meter", "emission"]),
    ("ledger", &["number", "period"]),
    ("review", &["number", "period", "factor", "ledger"]),
];

/// Modules of the gateway that see everything: the composition root, the program above it, and its command line.
const GATEWAY_TOP: &[&str] = &["app", "main", "cli"];
/// What only those may use.
const GATEWAY_TOP_ONLY: &[&str] = &["app", "main", "cli", "api"];

/// Words that pure modules must not contain outside their tests.
const PURE: &[(&str, &[&str])] = &[
    ("collector/src/model/", IMPURE),
    ("collector/src/protocol/", IMPURE),
    ("collector/src/normalise/", IMPURE),
    ("rules/src/", IMPURE),
    // Figures that decide are exact.
    ("rules/src/emission/", FLOATS),
    ("rules/src/indicator/", FLOATS),
    ("rules/src/ledger/", FLOATS),
    ("rules/src/review/", FLOATS),
];
const IMPURE: &[&str] =
    &["tokio", "Instant", "SystemTime", "std::fs", "std::net", "std::env", "std::thread", "std::process", "Timestamp::now", "Zoned::now"];
const FLOATS: &[&str] = &["f64", "f32"];
/// Crates of the workspace.
const MEMBERS: &[&str] = &["collector", "rules", "gateway", "tests"];

/// Crates that must not be among the direct dependencies of a crate of ours.
const NOT_IN: &[(&str, &[&str])] = &[
    ("parkgate-collector", &["axum", "rusqlite", "parkgate-gateway", "parkgate-tests", "mqtt5", "chrono"]),
    ("parkgate-rules", &["tokio", "axum", "rusqlite", "tracing", "parkgate-collector", "parkgate-gateway", "parkgate-tests"]),
    // jiff is the one library for calendar and zones; chrono comes with the PromQL parser.
    ("parkgate-gateway", &["parkgate-tests", "chrono"]),
];

/// Crates that must not be in the tree at all, and why.
const BANNED: &[(&str, &str)] = &[
    ("openssl-sys", "needs a system library; TLS is rustls"),
    ("native-tls", "needs a system library; TLS is rustls"),
    // The feature `influxdb2` of the tests, which is off, brings an old one; it is not in what is built or shipped.
    ("reqwest", "one HTTP client is enough: ureq, on the thread of the sink that uses it"),
    ("rumqttd", "loses queued messages; the embedded broker is mqtt5, the tests use mosquitto"),
    ("rumqttc", "superseded by its maintained fork rumqttc-v4-next"),
    ("rodbus", "its licence allows no commercial use"),
    ("evalexpr", "AGPL"),
    ("serde_yaml", "unmaintained; config is TOML"),
];

/// Licences that a crate may be used under. The last one covers data only (root certificates).
const LICENCES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "0BSD",
    "BSL-1.0",
    "Unlicense",
    "CDLA-Permissive-2.0",
];

/// Most lines of a source file of the product before its tests.
const LINES_MAX: usize = 800;
/// Files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[];

#[test]
fn modules_depend_in_one_direction() {
    let mut wrong = Wrong::default();
    let mut seen = 0;
    for file in ["collector/src", "rules/src", "gateway/src"].into_iter().flat_map(rust_files) {
        let Some(module) = file.module.first() else { continue };
        for (line, target) in file.crate_uses() {
            if target == *module {
                continue;
            }
            seen += 1;
            let table = if file.path.starts_with("collector") { COLLECTOR } else { RULES };
            let allowed = if !file.path.starts_with("gateway") {
                match table.iter().find(|(name, _)| name == module) {
                    Some((_, allowed)) => allowed.contains(&target.as_str()),
                    None => true, // told below
                }
            } else {
                GATEWAY_TOP.contains(&module.as_str()) || !GATEWAY_TOP_ONLY.contains(&target.as_str())
            };
            if !allowed {
                wrong.add(&file.path, line, &format!("`{module}` must not use `{target}`: move the shared part down, or hand it in"));
            }
        }
    }
    assert!(seen > 30, "only {seen} uses recognised: has the way of writing them changed?");
    let tables = [("collector/src", COLLECTOR), ("rules/src", RULES)];
    for (file, table) in tables.into_iter().flat_map(|(folder, table)| rust_files(folder).into_iter().map(move |file| (file, table))) {
        if let Some(module) = file.module.first().filter(|module| !table.iter().any(|(name, _)| name == module)) {
            wrong.add(&file.path, 1, &format!("module `{module}` has no row in the table of tidy.rs: say there what it may use"));
        }
    }
    wrong.none();
}

#[test]
fn pure_modules_do_no_io_and_read_no_clock() {
    let mut wrong = Wrong::default();
    for (folder, words) in PURE {
        let files = rust_files(folder);
        assert!(!files.is_empty(), "{folder} is empty");
        for file in files {
            for (number, line) in file.code_lines() {
                for word in words.iter().filter(|word| contains_word(line, word)) {
                    wrong.add(
                        &file.path,
                        number,
                        &format!("`{word}` in pure code: take time and data as arguments, and keep figures exact"),
                    );
                }
            }
        }
    }
    wrong.none();
}

#[test]
fn source_files_have_their_shape() {
    let mut wrong = Wrong::default();
    let files: Vec<_> = MEMBERS.iter().copied().flat_map(rust_files).collect();
    assert!(files.len() > 20, "the tree was not found");
    for file in &files {
        if !file.is_test() && !file.text.starts_with("//!") {
            wrong.add(
                &file.path,
                1,
                "does not begin with a `//!` paragraph: say what it is for, what it takes and gives, what it never does",
            );
        }
        let lines = file.code_lines().last().map_or(0, |(number, _)| number);
        if !file.path.starts_with("tests") && lines > LINES_MAX && !LONG_FILES.iter().any(|(path, _)| file.path == Path::new(path)) {
            wrong.add(&file.path, lines, &format!("{lines} lines before its tests, {LINES_MAX} at most: split it by subject"));
        }
    }
    for (path, reason) in LONG_FILES {
        assert!(root().join(path).is_file() && !reason.is_empty(), "{path} in the list of long files is gone");
    }
    wrong.none();
}

#[test]
fn code_that_reads_the_wire_is_linted_strictly() {
    let lints = ["clippy::unwrap_used", "clippy::indexing_slicing", "clippy::arithmetic_side_effects"];
    let strict = |path: &Path| {
        let text = std::fs::read_to_string(root().join(path)).unwrap_or_default();
        text.lines().any(|line| line.starts_with("#![") && line.contains("deny(") && lints.iter().all(|lint| line.contains(lint)))
    };
    let mut wrong = Wrong::default();
    for folder in ["collector/src/protocol", "collector/src/normalise"] {
        for file in rust_files(folder).iter().filter(|file| !file.is_test() && file.code_lines().any(|(_, line)| contains_word(line, "fn")))
        {
            let above = file.path.ancestors().skip(1).take_while(|path| path.starts_with(folder)).map(|path| path.join("mod.rs"));
            if !std::iter::once(file.path.clone()).chain(above).any(|path| strict(&path)) {
                wrong.add(&file.path, 1, &format!("neither it nor a mod.rs above denies {}", lints.join(", ")));
            }
        }
    }
    wrong.none();
}

#[test]
fn text_files_are_clean() {
    // In two parts, so that this file passes its own test.
    let machine_paths = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/tm", "p/"), concat!("/Us", "ers/")];
    let mut wrong = Wrong::default();
    for path in files_below(&root(), &|name| is_text(name)) {
        let text = std::fs::read_to_string(root().join(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let rust = path.extension().is_some_and(|extension| extension == "rs");
        for (number, line) in (1..).zip(text.lines()) {
            if line.ends_with([' ', '\t', '\r']) {
                wrong.add(&path, number, "white space at the end of the line");
            }
            if rust && line.contains('\t') {
                wrong.add(&path, number, "tab: write \\t, or let cargo fmt indent");
            }
            for machine_path in machine_paths {
                let begins =
                    |at: usize| at == 0 || !line[..at].ends_with(|before: char| before.is_alphanumeric() || "._-*}>/".contains(before));
                if line.match_indices(machine_path).any(|(at, _)| begins(at)) {
                    wrong.add(
                        &path,
                        number,
                        &format!("`{machine_path}` is a path of one machine: use a temporary directory, or a path from the config"),
                    );
                }
            }
        }
        if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
            wrong.add(&path, text.lines().count(), "must end with one line break");
        }
    }
    wrong.none();
}

#[test]
fn architecture_names_what_exists() {
    let text = read("ARCHITECTURE.md");
    let mut wrong = Wrong::default();
    let mut found = 0;
    for (number, line) in (1..).zip(text.lines()) {
        for quoted in line.split('`').skip(1).step_by(2) {
            let plain = quoted.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
            let file_like =
                [".rs", ".md", ".toml", ".lock"].iter().any(|ending| quoted.ends_with(ending)) || ["LICENSE", "Makefile"].contains(&quoted);
            if !plain || quoted.starts_with('/') || !(quoted.contains('/') || file_like) {
                continue;
            }
            found += 1;
            if !root().join(quoted).exists() {
                wrong.add(
                    Path::new("ARCHITECTURE.md"),
                    number,
                    &format!("`{quoted}` does not exist: mend the path, or name what is planned without back-ticks"),
                );
            }
        }
    }
    assert!(found > 20, "only {found} paths recognised: has the way of writing them changed?");
    wrong.none();
}

#[test]
fn dependencies_are_declared_once_and_explained() {
    let architecture = read("ARCHITECTURE.md");
    let workspace = manifest("Cargo.toml");
    let mut wrong = Wrong::default();
    let mut used = BTreeSet::new();
    for member in MEMBERS {
        let path = format!("{member}/Cargo.toml");
        let manifest = manifest(&path);
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in manifest.get(table).and_then(toml::Value::as_table).into_iter().flatten() {
                used.insert(name.clone());
                if value.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                    wrong.add(Path::new(&path), 1, &format!("`{name}` must be `workspace = true` and declared in the root Cargo.toml"));
                }
            }
        }
        if manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool) != Some(true) {
            wrong.add(Path::new(&path), 1, "must take its lints from the workspace");
        }
    }
    let declared = workspace["workspace"]["dependencies"].as_table().expect("a table");
    for name in declared.keys() {
        if !used.contains(name) {
            wrong.add(Path::new("Cargo.toml"), 1, &format!("`{name}` is declared and not used: take it out"));
        }
        if !name.starts_with("parkgate-") && !architecture.contains(&format!("`{name}`")) {
            wrong.add(
                Path::new("ARCHITECTURE.md"),
                1,
                &format!("`{name}` is missing in the table of dependencies: say why it is used and what we would write instead"),
            );
        }
    }
    let lints = &workspace["workspace"]["lints"]["rust"];
    assert_eq!(lints.get(concat!("un", "safe_code")).and_then(toml::Value::as_str), Some("forbid"));
    wrong.none();
}

#[test]
fn the_fuzz_targets_lock_what_our_crates_need() {
    let lock = manifest("tests/fuzz/Cargo.lock");
    let packages = lock["package"].as_array().expect("packages");
    let workspace = manifest("Cargo.toml");
    let mut wrong = Wrong::default();
    for folder in ["collector", "rules", "gateway"] {
        let manifest = manifest(&format!("{folder}/Cargo.toml"));
        let name = &manifest["package"]["name"];
        let Some(package) = packages.iter().find(|package| package["name"] == *name) else { continue };
        let locked: BTreeSet<&str> =
            package["dependencies"].as_array().into_iter().flatten().filter_map(|entry| entry.as_str()?.split(' ').next()).collect();
        for (dependency, how) in manifest["dependencies"].as_table().expect("a table") {
            let is_optional = how.get("optional").and_then(toml::Value::as_bool).unwrap_or(false);
            let declared = workspace["workspace"]["dependencies"].get(dependency);
            let package = declared.and_then(|declared| declared.get("package")?.as_str()).unwrap_or(dependency);
            if !is_optional && !locked.contains(package) {
                let path = Path::new("tests/fuzz/Cargo.lock");
                wrong.add(path, 1, &format!("lacks {dependency}: run `cargo update --workspace` in tests/fuzz"));
            }
        }
    }
    wrong.none();
}

#[test]
fn crates_have_allowed_licences_and_none_is_banned() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let mut wrong = Wrong::default();
    let lock = Path::new("Cargo.lock");
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        if let Some((_, reason)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            wrong.add(lock, 1, &format!("`{name}` is banned: {reason}"));
        }
        let licence = package["license"].as_str().unwrap_or("");
        if !licence_allowed(licence) {
            wrong.add(lock, 1, &format!("`{name}` is under `{licence}`, which the list in tidy.rs does not allow"));
        }
        for (_, barred) in NOT_IN.iter().filter(|(ours, _)| *ours == name) {
            for dependency in package["dependencies"].as_array().expect("dependencies") {
                let optional = dependency["optional"].as_bool() == Some(true);
                if let Some(barred) = barred.iter().find(|barred| dependency["name"] == **barred && !optional) {
                    wrong.add(lock, 1, &format!("`{name}` must not depend on `{barred}`"));
                }
            }
        }
    }
    assert!(packages.len() > 50, "cargo metadata listed only {} packages", packages.len());
    wrong.none();
}

#[test]
fn the_checks_themselves_can_fail() {
    for (licence, allowed) in [
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0", false),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR GPL-3.0) AND GPL-2.0", false),
        ("MIT/Apache-2.0", true),
        ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true),
        ("", false),
    ] {
        assert_eq!(licence_allowed(licence), allowed, "{licence}");
    }
    let file = RustFile {
        path: "collector/src/driver/mqtt/client.rs".into(),
        module: ["driver", "mqtt", "client"].map(String::from).into(),
        text: "use crate::model::Sample;\nuse crate::{\n  clock::Clock,\n  journal::{Journal, Record},\n};\n// crate::hidden\nlet x = super::super::super::api::f(super::topics::g());\nlet y = super::super::backoff();\n#[cfg(test)]\nmod tests {\n    use crate::sim;\n}\n".into(),
    };
    let uses: Vec<_> = file.crate_uses().into_iter().map(|(line, target)| format!("{line} {target}")).collect();
    assert_eq!(uses, ["1 model", "2 clock", "2 journal", "7 api", "7 driver", "8 driver"]);
    assert!(contains_word("use std::fs;", "std::fs") && contains_word("tokio::spawn", "tokio"));
    assert!(!contains_word("std::fsx", "std::fs") && !contains_word("my_tokio", "tokio"));
}

/// Everything found wrong, shown at once.
#[derive(Default)]
struct Wrong(String);

impl Wrong {
    fn add(&mut self, path: &Path, line: usize, what: &str) {
        let _ = writeln!(self.0, "{}:{line}: {what}", path.display());
    }

    fn none(self) {
        assert!(self.0.is_empty(), "\n{}", self.0);
    }
}

/// One source file.
struct RustFile {
    /// Below the root.
    path: PathBuf,
    /// Module path within its crate; empty for `lib.rs`.
    module: Vec<String>,
    text: String,
}

impl RustFile {
    /// A file of nothing but tests beside what it tests.
    fn is_test(&self) -> bool {
        self.module.iter().any(|part| part == "tests")
    }

    /// Lines before the tests, comments cut off, with their numbers.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = if self.is_test() { 0 } else { self.text.find("#[cfg(test)]\nmod ").unwrap_or(self.text.len()) };
        (1..).zip(self.text[..end].lines()).map(|(number, line)| (number, line.split("//").next().unwrap_or("")))
    }

    /// Top-level modules of its crate that it names, by `crate::` or by `super::` beyond its own.
    fn crate_uses(&self) -> Vec<(usize, String)> {
        let mut code = String::new();
        let mut line_starts = BTreeMap::new();
        for (number, line) in self.code_lines() {
            line_starts.insert(code.len(), number);
            code.push_str(line);
            code.push('\n');
        }
        let line_at = |at: usize| line_starts.range(..=at).next_back().map_or(1, |(_, &number)| number);
        let mut uses = Vec::new();
        for (at, _) in code.match_indices("crate::").filter(|&(at, _)| !code[..at].ends_with(is_ident)) {
            let rest = &code[at + "crate::".len()..];
            match rest.strip_prefix('{') {
                Some(group) => uses.extend(group_heads(group).into_iter().map(|head| (line_at(at), head))),
                None => uses.push((line_at(at), ident(rest))),
            }
        }
        for (at, _) in code.match_indices("super::").filter(|&(at, _)| !code[..at].ends_with(is_ident) && !code[..at].ends_with("super::"))
        {
            let mut rest = &code[at..];
            let mut up = 0;
            while let Some(after) = rest.strip_prefix("super::") {
                (rest, up) = (after, up + 1);
            }
            match self.module.len().checked_sub(up) {
                Some(0) => uses.push((line_at(at), ident(rest))),
                Some(_) => uses.push((line_at(at), self.module[0].clone())),
                None => {}
            }
        }
        uses.retain(|(_, target)| target.starts_with(|first: char| first.is_lowercase()));
        uses.sort();
        uses.dedup();
        uses
    }
}

/// First identifiers of the members of a `use` group whose brace is already open.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut at_head = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_head = true,
            c if at_head && is_ident(c) => {
                heads.push(ident(&group[at..]));
                at_head = false;
            }
            _ => {}
        }
    }
    heads
}

fn ident(text: &str) -> String {
    text.chars().take_while(|&c| is_ident(c)).collect()
}

fn is_ident(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(is_ident) && !line[at + word.len()..].starts_with(is_ident))
}

/// Whether an SPDX expression can be met from [`LICENCES`]; `/` is an old way to write `OR`.
fn licence_allowed(expression: &str) -> bool {
    let expression = expression.trim();
    if let Some(parts) = split_outside(&expression.replace('/', " OR "), " OR ") {
        return parts.iter().any(|part| licence_allowed(part));
    }
    if let Some(parts) = split_outside(expression, " AND ") {
        return parts.iter().all(|part| licence_allowed(part));
    }
    match expression.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => licence_allowed(inner),
        None => LICENCES.contains(&expression),
    }
}

/// Splits at `separator` outside parentheses; `None` when there is nothing to split.
fn split_outside(text: &str, separator: &str) -> Option<Vec<String>> {
    let mut parts: Vec<String> = Vec::new();
    for piece in text.split(separator) {
        match parts.last_mut() {
            Some(open) if open.matches('(').count() > open.matches(')').count() => {
                open.push_str(separator);
                open.push_str(piece);
            }
            _ => parts.push(piece.to_owned()),
        }
    }
    (parts.len() > 1).then_some(parts)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn manifest(path: &str) -> toml::Value {
    toml::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn rust_files(folder: &str) -> Vec<RustFile> {
    files_below(&root().join(folder), &|name| name.ends_with(".rs"))
        .into_iter()
        .map(|path| {
            let text = read(path.to_str().expect("our paths are UTF-8"));
            let below_src = path.iter().skip_while(|part| *part != "src").skip(1).collect::<PathBuf>().with_extension("");
            let mut module: Vec<String> = below_src.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if module.last().is_some_and(|last| last == "mod" || last == "lib") {
                module.pop();
            }
            RustFile { path, module, text }
        })
        .collect()
}

/// Files below a folder whose name is wanted, as paths below the root, in order. Hidden folders but `.ci`, and what
/// builds and runs leave behind, are passed over.
fn files_below(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries.map(|entry| entry.expect("a readable folder")) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let kind = entry.file_type().expect("a file type");
        if kind.is_dir() {
            let left_behind =
                ["target", "corpus", "artifacts", "proptest-regressions"].contains(&name.as_str()) || path == root().join("data");
            if !left_behind && (!name.starts_with('.') || name == ".ci") {
                found.extend(files_below(&path, wanted));
            }
        } else if kind.is_file() && wanted(&name) {
            found.push(path.strip_prefix(root()).expect("below the root").to_owned());
        }
    }
    found.sort();
    found
}

fn is_text(name: &str) -> bool {
    let endings = [".rs", ".toml", ".md", ".json", ".jsonl", ".yml", ".yaml", ".html", ".css", ".js", ".svg", ".sh", ".sql"];
    endings.iter().any(|ending| name.ends_with(ending)) || ["Makefile", "run", ".gitignore", "Cargo.lock"].contains(&name)
}

/// What cargo says about the whole tree, for this platform, without the network.
fn metadata() -> serde_json::Value {
    let rustc = Command::new(std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into())).arg("-vV").output().expect("rustc runs");
    let rustc = String::from_utf8(rustc.stdout).expect("UTF-8");
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}
