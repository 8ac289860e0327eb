//! Reads the files of a configuration and hands their texts to the pure parts. The only place here that does I/O, behind
//! [`Files`], so that tests and fuzzers give texts.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use garde::Validate;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bench::{Bench, Judge, Variant};
use super::lone::bench_device;
use super::place::{At, Place};
use super::problem::{Problem, Problems};
use super::profile::{BUILT_IN, BUILT_IN_PREFIX};
use super::raw::{IncludedFile, MainFile, ProfileFile, RawDevice, RawLink};
use super::read::read;
use super::tree::Node;
use super::validate::{Draft, Parts, Profile, profile_tests, validate, validate_profile, variants};

/// Largest file read; a larger one is no configuration.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Folder of profiles when the config names none.
const PROFILES_DEFAULT: &str = "devices";

/// What a configuration is read from.
pub trait Files {
    /// The text of a file; why not, for a person.
    fn read(&self, path: &Path) -> Result<String, String>;
    /// Files that a pattern with `*` and `**` names, sorted.
    fn glob(&self, pattern: &str) -> Result<Vec<PathBuf>, String>;
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The machine's own files and variables.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> Result<String, String> {
        let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
        if length > FILE_BYTES_MAX {
            return Err(format!("has {length} bytes; a configuration has at most {FILE_BYTES_MAX}"));
        }
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        String::from_utf8(bytes).map_err(|error| {
            let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let line = good.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
            format!("is not UTF-8 from line {line} on; save it as UTF-8")
        })
    }

    fn glob(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let paths = glob::glob(pattern).map_err(|error| error.to_string())?;
        let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        paths.sort();
        Ok(paths)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// Texts in memory, by path. A pattern matches as on disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles {
    /// Texts by path.
    pub files: BTreeMap<PathBuf, String>,
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
}

impl Files for MemoryFiles {
    fn read(&self, path: &Path) -> Result<String, String> {
        self.files.get(path).cloned().ok_or_else(|| "no such file".into())
    }

    fn glob(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let pattern = glob::Pattern::new(pattern).map_err(|error| error.to_string())?;
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        Ok(self.files.keys().filter(|path| pattern.matches_path_with(path, options)).cloned().collect())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

/// The program's own settings: the table `[gateway]`.
pub trait OwnTable: DeserializeOwned + Default + Validate<Context = ()> {
    /// What in it does not fit the park. Asked only when the park itself is valid.
    fn misfits(&self, _draft: &Draft) -> Vec<Misfit> {
        Vec::new()
    }
}

/// Something in the table `[gateway]` that does not fit the park.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Path of the value within the table: `outlet[0].o2`.
    pub path: String,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do; may be empty.
    pub help: String,
}

/// A valid configuration.
#[derive(Debug)]
pub struct Loaded<G> {
    /// The program's own settings.
    pub gateway: G,
    /// The park; [`Draft::build`] makes the catalogue of it once there is a registry.
    pub draft: Draft,
    /// All that was read, as lines `file: path = value` to be kept and compared: sorted within a file, secrets masked,
    /// variables by name, profiles that no device uses and those that come with the program left out.
    pub lines: Vec<String>,
    /// How variants are told apart, by id of the profiles that devices use.
    pub variants: BTreeMap<String, Vec<Variant>>,
}

/// Why a configuration could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file named on the command line could not be read.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It was read, and is not valid.
    #[error("{0}")]
    Invalid(Problems),
}

/// What else is asked of a configuration that is valid by itself; paths of the answers are counted from the root of the
/// main file, `gateway.http.listen`.
pub type Demand<'a, G> = &'a dyn Fn(&G, &Draft) -> Vec<Misfit>;

/// Reads and checks a main file with all that it names. `G` is the table `[gateway]`.
pub fn load<G: OwnTable>(main_file: &Path, files: &dyn Files) -> Result<Loaded<G>, LoadError> {
    load_with(main_file, files, &|_, _| Vec::new())
}

/// As [`load`]; what `demand` finds is a problem like any other, with its place.
pub fn load_with<G: OwnTable>(main_file: &Path, files: &dyn Files, demand: Demand<'_, G>) -> Result<Loaded<G>, LoadError> {
    let mut loader = Loader::new(files);
    let text = files.read(main_file).map_err(|reason| LoadError::Unreadable { path: main_file.to_owned(), reason })?;
    let loaded = loader.main::<G>(main_file, text, demand);
    match loaded {
        Some(loaded) if loader.problems.is_empty() => Ok(loaded),
        _ => Err(LoadError::Invalid(loader.problems)),
    }
}

/// What `check` found.
#[derive(Debug, Default, Serialize)]
pub struct CheckReport {
    /// Per file, in order.
    pub files: Vec<FileReport>,
}

/// What `check` found in one file and all that it names.
#[derive(Debug, Serialize)]
pub struct FileReport {
    /// The file as given.
    pub file: PathBuf,
    /// Why it could not be read, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// Enterprises.
    pub enterprises: usize,
    /// Links.
    pub links: usize,
    /// Devices.
    pub devices: usize,
    /// Points.
    pub points: usize,
    /// Tests run, of a profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tests: Option<usize>,
    /// Points of a profile for which no test expects a number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub untested: Vec<String>,
    /// Every problem, by file and line.
    pub problems: Vec<Problem>,
    /// Problems of further files that the main file names and others read: `file:line:column: message`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// What is valid and will make trouble all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Problem>,
    /// The problems again, to be rendered.
    #[serde(skip)]
    pub rendered: Problems,
}

impl CheckReport {
    /// 0: all fine; 1: problems in the files; 2: a file could not be read.
    pub fn exit_code(&self) -> u8 {
        if self.files.iter().any(|file| file.unreadable.is_some()) {
            2
        } else {
            u8::from(self.files.iter().any(|file| !(file.problems.is_empty() && file.also.is_empty())))
        }
    }

    /// For people: every problem with a caret, then one line per file.
    pub fn render(&self, colour: bool) -> String {
        let mut text = String::new();
        for file in &self.files {
            text.push_str(&file.rendered.render(colour));
            file.also.iter().for_each(|problem| text.push_str(&format!("{problem}\n")));
            for warning in &file.warnings {
                text.push_str(&format!("warning: {warning}\n"));
            }
            let name = file.file.display();
            let line = match (&file.unreadable, file.rendered.len().saturating_add(file.also.len())) {
                (Some(reason), _) => format!("{name}: cannot be read: {reason}\n"),
                (None, 0) => match file.tests {
                    None => format!(
                        "{name}: fine ({} enterprises, {} links, {} devices, {} points)\n",
                        file.enterprises, file.links, file.devices, file.points
                    ),
                    Some(tests) if file.untested.is_empty() => format!("{name}: fine ({} points, {tests} tests)\n", file.points),
                    Some(tests) => {
                        format!("{name}: fine ({} points, {tests} tests; in no test: {})\n", file.points, file.untested.join(", "))
                    }
                },
                (None, count) => format!("{name}: {count} problems\n"),
            };
            text.push_str(&line);
        }
        text
    }
}

/// Checks files, each a main file or a device profile (told by its `[profile]`), without touching anything else.
pub fn check<G: OwnTable>(paths: &[PathBuf], files: &dyn Files) -> CheckReport {
    CheckReport { files: paths.iter().map(|path| check_file::<G>(path, files, None)).collect() }
}

/// Checks files as [`check`] does, and has `judge` run the tests of device profiles.
pub fn check_with<G: OwnTable>(paths: &[PathBuf], files: &dyn Files, judge: Judge) -> CheckReport {
    CheckReport { files: paths.iter().map(|path| check_file::<G>(path, files, Some(judge))).collect() }
}

fn check_file<G: OwnTable>(path: &Path, files: &dyn Files, judge: Option<Judge>) -> FileReport {
    let mut report = FileReport {
        file: path.to_owned(),
        unreadable: None,
        enterprises: 0,
        links: 0,
        devices: 0,
        points: 0,
        tests: None,
        untested: Vec::new(),
        problems: Vec::new(),
        also: Vec::new(),
        warnings: Vec::new(),
        rendered: Problems::default(),
    };
    let text = match files.read(path) {
        Ok(text) => text,
        Err(reason) => {
            report.unreadable = Some(reason);
            return report;
        }
    };
    let mut loader = Loader::new(files);
    let is_profile = Node::parse(&text, 0, &mut Problems::default()).get("profile").is_some();
    if is_profile {
        loader.profile(path.display().to_string(), text.clone());
        for (id, profile) in &loader.parts.profiles {
            report.points = profile.point.len();
            validate_profile(profile, &mut loader.problems);
            variants(profile, &mut loader.problems);
            let tests = profile_tests(profile, &mut loader.problems);
            let Some(judge) = judge.filter(|_| loader.problems.is_empty()) else { continue };
            report.tests = Some(tests.len());
            let Some(device) = bench_device(id, &text, files) else { continue };
            let found = judge(&Bench { device, tests });
            report.untested = found.uncovered;
            for (place, message, help) in found.findings {
                loader.problems.add(place, message, help);
            }
        }
    } else if let Some(loaded) = loader.main::<G>(path, text, &|_, _| Vec::new()) {
        (report.enterprises, report.links, report.devices, report.points) = loaded.draft.counts();
    }
    report.problems = loader.problems.list();
    report.warnings = loader.problems.warnings();
    report.rendered = loader.problems;
    report
}

/// A folder as the literal beginning of a pattern.
fn under(folder: &Path) -> PathBuf {
    glob::Pattern::escape(&folder.display().to_string()).into()
}

struct Loader<'a> {
    files: &'a dyn Files,
    problems: Problems,
    parts: Parts,
    /// All that counts for the version, in one fixed form.
    canonical: String,
    included: HashSet<PathBuf>,
    /// Lines of the main file and those that it includes.
    lines: Vec<String>,
    /// Lines of profiles in files, by id.
    profile_lines: BTreeMap<String, Vec<String>>,
    /// Folder of the main file.
    folder: PathBuf,
}

impl<'a> Loader<'a> {
    fn new(files: &'a dyn Files) -> Self {
        Self {
            files,
            problems: Problems::default(),
            parts: Parts::default(),
            canonical: String::new(),
            included: HashSet::new(),
            lines: Vec::new(),
            profile_lines: BTreeMap::new(),
            folder: PathBuf::new(),
        }
    }

    /// Parses a text and puts variables in.
    fn tree(&mut self, name: String, text: String) -> (Node, u32) {
        let shown = Path::new(&name).strip_prefix(&self.folder).map_or_else(|_| name.clone(), |path| path.display().to_string());
        let source = self.problems.sources.add(name, text.clone());
        let mut tree = Node::parse(&text, source, &mut self.problems);
        // Tests of a profile say nothing about how the park is read.
        let is_profile = tree.get("profile").is_some();
        let counts = |line: &String| !is_profile || !line.starts_with("test[");
        let lines = tree.lines().into_iter().filter(counts).map(|line| format!("{shown}: {line}"));
        match tree.get("profile").and_then(|profile| profile.get("id")).and_then(Node::text) {
            Some(id) => self.profile_lines.entry(id.to_owned()).or_default().extend(lines),
            None => self.lines.extend(lines),
        }
        let files = self.files;
        tree.substitute(source, &|name| files.variable(name), &mut self.problems);
        (tree, source)
    }

    fn main<G: OwnTable>(&mut self, path: &Path, text: String, demand: Demand<'_, G>) -> Option<Loaded<G>> {
        self.folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let (mut tree, source) = self.tree(path.display().to_string(), text);
        let had_park = tree.get("park").is_some();
        let file: MainFile<G> = read(&mut tree, source, &mut self.parts.lost, &mut self.problems)?;
        self.rules(&tree, source, "gateway", &file.gateway);
        if !had_park {
            let help = "add [park] with an id; an included file is checked with the main file that includes it";
            self.problems.add(Place::new(source, &(0..0)), "there is no [park]", help);
        }
        for key in ["park", "display_units"] {
            if let Some(node) = tree.get(key) {
                node.canonical(&mut self.canonical);
            }
        }
        self.parts.park = file.park;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        self.tables(&tree, source, &folder, IncludedFile { enterprise: file.enterprise, link: file.link, device: file.device });
        for pattern in &file.include {
            self.include(&folder, pattern, path);
        }
        self.profiles(&folder, file.profiles);
        let version = self.version();
        let mut draft = validate(&self.parts, &mut self.problems)?;
        let told_apart = self.variants();
        draft.version = version;
        if self.problems.is_empty() {
            for Misfit { path, message, help } in file.gateway.misfits(&draft) {
                let node = tree.follow("gateway").follow(&path);
                self.problems.add(Place::new(source, &node.span), message, help);
            }
            for Misfit { path, message, help } in demand(&file.gateway, &draft) {
                self.problems.add(Place::new(source, &tree.follow(&path).span), message, help);
            }
        }
        let mut lines = std::mem::take(&mut self.lines);
        let used = self.used_profiles();
        let own = self.profile_lines.iter().filter(|(id, _)| used.contains(id.as_str())).flat_map(|(_, lines)| lines);
        lines.extend(own.filter(|line| !line.starts_with(BUILT_IN_PREFIX)).cloned());
        Some(Loaded { gateway: file.gateway, draft, lines, variants: told_apart })
    }

    /// CRC-32 of the canonical form of everything but `[gateway]`, secrets, and profiles that no device uses.
    fn version(&mut self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.canonical.as_bytes());
        let used = self.used_profiles();
        for (id, profile) in &self.parts.profiles {
            if used.contains(id.as_str()) {
                hasher.update(profile.canonical.as_bytes());
            }
        }
        hasher.finalize()
    }

    fn used_profiles(&self) -> HashSet<&str> {
        self.parts.devices.iter().filter_map(|device| device.profile.as_ref()).map(|id| id.value.as_str()).collect()
    }

    /// How variants of the profiles in use are told apart.
    fn variants(&mut self) -> BTreeMap<String, Vec<Variant>> {
        let used: Vec<String> = self.used_profiles().into_iter().map(str::to_owned).collect();
        let profiles = used.into_iter().filter_map(|id| self.parts.profiles.get(&id).map(|profile| (id, profile)));
        profiles.map(|(id, profile)| (id, variants(profile, &mut self.problems))).filter(|(_, variants)| !variants.is_empty()).collect()
    }

    fn include(&mut self, folder: &Path, pattern: &At<String>, main: &Path) {
        let full = under(folder).join(&pattern.value);
        let paths = match self.files.glob(&full.display().to_string()) {
            Ok(paths) => paths,
            Err(reason) => return self.problems.add(pattern.place, format!("cannot look for files: {reason}"), ""),
        };
        if paths.is_empty() {
            let is_pattern = pattern.contains(['*', '?', '[']);
            let what = if is_pattern { "no file matches this pattern" } else { "there is no such file" };
            self.problems.add(pattern.place, what, "paths are relative to this file");
        }
        for path in paths.iter().filter(|path| path.as_path() != main) {
            // Two patterns may name one file.
            if !self.included.insert(path.clone()) {
                continue;
            }
            match self.files.read(path) {
                Ok(text) => {
                    let (mut tree, source) = self.tree(path.display().to_string(), text);
                    let tables: Option<IncludedFile> = read(&mut tree, source, &mut self.parts.lost, &mut self.problems);
                    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
                    if let Some(tables) = tables {
                        self.tables(&tree, source, &folder, tables);
                    }
                }
                Err(reason) => self.problems.add(pattern.place, format!("{} cannot be read: {reason}", path.display()), ""),
            }
        }
    }

    /// Takes over the tables of a file: rules of single values, secrets in files, canonical form.
    fn tables(&mut self, tree: &Node, source: u32, folder: &Path, mut tables: IncludedFile) {
        for (index, link) in tables.link.iter_mut().enumerate() {
            let under = format!("link[{index}]");
            match &mut link.value {
                RawLink::Mqtt(mqtt) => {
                    self.rules(tree, source, &under, mqtt.as_ref());
                    if let Some(file) = &mqtt.password_file {
                        self.secret(folder, file);
                    }
                    if let Some(tls) = &mut mqtt.tls {
                        self.pem(folder, tls.value.ca_file.as_mut(), "CERTIFICATE");
                        self.pem(folder, tls.value.certificate_file.as_mut(), "CERTIFICATE");
                        self.pem(folder, tls.value.key_file.as_mut(), "PRIVATE KEY");
                    }
                }
                RawLink::ModbusTcp(modbus) => self.rules(tree, source, &under, modbus),
                RawLink::ModbusRtu(modbus) => self.rules(tree, source, &under, modbus.as_ref()),
                RawLink::ModbusRtuOverTcp(modbus) => self.rules(tree, source, &under, modbus.as_ref()),
                RawLink::ModbusDialIn(modbus) => self.rules(tree, source, &under, modbus.as_ref()),
            }
        }
        for (index, device) in tables.device.iter().enumerate() {
            self.rules::<RawDevice>(tree, source, &format!("device[{index}]"), &device.value);
        }
        for key in ["enterprise", "link", "device"] {
            if let Some(node) = tree.get(key) {
                node.canonical(&mut self.canonical);
            }
        }
        self.parts.enterprises.extend(tables.enterprise);
        self.parts.links.extend(tables.link);
        self.parts.devices.extend(tables.device);
    }

    /// The rules of single values, as garde attributes state them.
    fn rules<T: Validate<Context = ()>>(&mut self, tree: &Node, source: u32, under: &str, value: &T) {
        let Err(report) = value.validate() else { return };
        for (path, error) in report.iter() {
            let path = path.to_string();
            let node = tree.follow(under).follow(&path);
            let key = path.rsplit('.').next().unwrap_or("");
            // garde words a broken range as "lower than 1"; rules of our own are whole sentences.
            let message = error.message();
            let must_not_be = if message.starts_with("lower than") || message.starts_with("greater than") { "must not be " } else { "" };
            self.problems.add(Place::new(source, &node.span), format!("`{key}`: {must_not_be}{message}"), "");
        }
    }

    fn secret(&mut self, folder: &Path, file: &At<String>) {
        match self.files.read(&folder.join(&file.value)) {
            Ok(text) => match text.lines().next() {
                Some(secret) if !secret.is_empty() => {
                    self.parts.secrets.insert(file.place, secret.to_owned());
                }
                _ => self.problems.add(file.place, "the secret's file has nothing in its first line", ""),
            },
            Err(reason) => {
                self.problems.add(file.place, format!("the secret's file cannot be read: {reason}"), "paths are relative to this file")
            }
        }
    }

    /// Checks that a PEM file holds what it should, and makes its path one from where the program runs.
    fn pem(&mut self, folder: &Path, file: Option<&mut At<String>>, what: &str) {
        let Some(file) = file else { return };
        let path = folder.join(&file.value);
        match self.files.read(&path) {
            Ok(text) if text.lines().any(|line| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&format!("{what}-----"))) => {}
            Ok(_) => self.problems.add(file.place, format!("{} holds no `{what}` in PEM", path.display()), "PEM begins with -----BEGIN"),
            Err(reason) => {
                self.problems.add(file.place, format!("{} cannot be read: {reason}", path.display()), "paths are relative to this file");
            }
        }
        file.value = path.display().to_string();
    }

    /// Profiles of the folders, then those built in that a device names and no folder has.
    fn profiles(&mut self, folder: &Path, folders: Option<Vec<At<String>>>) {
        let named = folders.is_some();
        let folders = folders.unwrap_or_else(|| vec![At::new(Place::default(), PROFILES_DEFAULT.into())]);
        for profiles in &folders {
            let pattern = under(folder).join(&profiles.value).join("*.toml");
            let paths = self.files.glob(&pattern.display().to_string()).unwrap_or_default();
            if paths.is_empty() && named {
                self.problems.add(profiles.place, "there are no profiles in this folder", "paths are relative to this file");
            }
            for path in paths {
                match self.files.read(&path) {
                    Ok(text) => self.profile(path.display().to_string(), text),
                    Err(reason) => self.problems.add(profiles.place, format!("{} cannot be read: {reason}", path.display()), ""),
                }
            }
        }
        let named: HashSet<String> =
            self.parts.devices.iter().filter_map(|device| device.profile.as_ref()).map(|id| id.value.clone()).collect();
        for (id, text) in BUILT_IN.iter().filter(|(id, _)| named.contains(*id)) {
            if !self.parts.profiles.contains_key(*id) && !self.parts.lost.contains(*id) {
                self.profile(format!("{BUILT_IN_PREFIX}{id}.toml"), (*text).to_owned());
            }
        }
    }

    fn profile(&mut self, name: String, text: String) {
        let (mut tree, source) = self.tree(name, text);
        if let Some(id) = tree.get("profile").and_then(|profile| profile.get("id")).and_then(Node::text).map(str::to_owned) {
            // Until it is read in full.
            self.parts.lost.insert(id);
        }
        let Some(file) = read::<ProfileFile>(&mut tree, source, &mut self.parts.lost, &mut self.problems) else { return };
        for (index, point) in file.point.iter().enumerate() {
            self.rules(&tree, source, &format!("point[{index}]"), &point.value);
        }
        if let Some(modbus) = &file.modbus {
            self.rules(&tree, source, "modbus", modbus);
        }
        for (index, topic) in file.topic.iter().enumerate() {
            self.rules(&tree, source, &format!("topic[{index}]"), &topic.value);
        }
        let id = file.profile.id.clone();
        let mut canonical = String::new();
        for key in ["modbus", "topic", "point"] {
            if let Some(node) = tree.get(key) {
                node.canonical(&mut canonical);
            }
        }
        if let Some(first) = self.parts.profiles.get(&id.value) {
            let help = "rename one of the two";
            self.problems.conflict(id.place, format!("profile `{}` is there twice", id.value), help, first.place, "first here");
            return;
        }
        let ProfileFile { modbus, topic, point, variant, test, .. } = file;
        let profile = Profile { place: id.place, modbus, topic, point, variant, test, canonical };
        self.parts.lost.remove(&id.value);
        self.parts.profiles.insert(id.value, profile);
    }
}
