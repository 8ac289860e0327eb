//! Reads the rule files that the settings name, and those that come with the program.

use std::path::Path;

use parkgate_collector::catalogue::Files;
use parkgate_rules::alarm::{self, DEFAULTS, Problem, Rule};

use super::settings::AlarmSettings;

/// Where rules are looked for unless the settings say.
const RULES_DEFAULT: &str = "alarms/*.toml";

/// The rules of a park; patterns are relative to `folder`.
///
/// # Errors
/// Every problem of the files, and patterns that name none.
pub fn load(settings: &AlarmSettings, folder: &Path, files: &dyn Files) -> Result<Vec<Rule>, Vec<Problem>> {
    let (mut texts, mut problems) = (Vec::new(), Vec::new());
    let default = vec![RULES_DEFAULT.to_owned()];
    for pattern in settings.rules.as_ref().unwrap_or(&default) {
        let full = folder.join(pattern).display().to_string();
        let mut paths = match files.glob(&full) {
            Ok(paths) => paths,
            Err(reason) => {
                problems.push(of_pattern(&full, format!("cannot look for files: {reason}")));
                continue;
            }
        };
        // Files of test cases lie beside the rules.
        paths.retain(|path| !is_test(path));
        if paths.is_empty() && settings.rules.is_some() {
            problems.push(of_pattern(&full, "no file of rules is named by this".into()));
        }
        for path in paths {
            let name = path.display().to_string();
            if texts.iter().any(|(known, _)| *known == name) {
                continue;
            }
            match files.read(&path) {
                Ok(text) => texts.push((name, text)),
                Err(reason) => problems.push(of_pattern(&name, format!("cannot be read: {reason}"))),
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    alarm::read(&texts, &[DEFAULTS])
}

/// Whether a file holds test cases by its name: `boiler.test.toml`.
pub fn is_test(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".test.toml"))
}

fn of_pattern(file: &str, message: String) -> Problem {
    let help = "see `rules` in [gateway.alarms]; paths are relative to the main file".into();
    Problem { file: file.to_owned(), line: 1, column: 1, message, help }
}

#[cfg(test)]
mod tests {
    use parkgate_collector::catalogue::{Disk, MemoryFiles};

    use super::*;

    #[test]
    fn files_are_found_and_those_of_tests_are_not_rules() {
        let rule = "[[rule]]\nid = \"a\"\ntitle = { zh = \"a\", en = \"a\" }\nalways = true\npriority = \"low\"\n";
        let files = MemoryFiles {
            files: [("park/alarms/a.toml".into(), rule.into()), ("park/alarms/a.test.toml".into(), "nonsense".into())].into(),
            ..MemoryFiles::default()
        };
        let settings = |pattern: &str| AlarmSettings { rules: Some(vec![pattern.into()]), ..AlarmSettings::default() };
        assert_eq!(load(&settings("alarms/*.toml"), Path::new("park"), &files).unwrap().len(), 4);
        assert_eq!(load(&AlarmSettings::default(), Path::new("park"), &files).unwrap().len(), 4);
        assert_eq!(load(&AlarmSettings::default(), Path::new("other"), &files).unwrap().len(), 3);
        let problems = load(&settings("alarm/*.toml"), Path::new("park"), &files).unwrap_err();
        assert!(problems[0].to_string().starts_with("park/alarm/*.toml:1:1: no file of rules"), "{problems:?}");
    }

    #[test]
    fn every_shipped_file_is_fine_and_passes_its_tests() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
        let mut cases = 0;
        for part in ["alarms", "demo"] {
            let pattern = folder.join(part).join("*alarms*.toml").display().to_string();
            let other = folder.join(part).join("*.test.toml").display().to_string();
            let mut tests = Disk.glob(&other).unwrap();
            tests.extend(Disk.glob(&pattern).unwrap().into_iter().filter(|path| is_test(path)));
            tests.dedup();
            for test in tests {
                let (name, text) = (test.display().to_string(), Disk.read(&test).unwrap());
                let named = alarm::case::rule_files(&name, &text).unwrap();
                let texts: Vec<(String, String)> = named
                    .iter()
                    .map(|file| {
                        (file.clone(), Disk.read(&test.parent().unwrap().join(file)).unwrap_or_else(|error| panic!("{file}: {error}")))
                    })
                    .collect();
                let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
                let rules = alarm::read(&texts, &[DEFAULTS]).unwrap_or_else(|problems| panic!("{problems:?}"));
                let (count, problems) = alarm::case::run(&name, &text, &rules);
                assert!(problems.is_empty(), "{problems:?}");
                cases += count;
            }
        }
        assert!(cases >= 4, "only {cases} cases found");
    }
}
