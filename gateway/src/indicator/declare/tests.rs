use std::path::Path;

use parkgate_collector::catalogue::{MemoryFiles, MemoryRegistry};

use super::*;
use crate::settings::GatewaySettings;

fn park() -> Catalogue {
    let text = "[park]\nid = \"p\"\n[[enterprise]]\nid = \"acme\"\n[[enterprise]]\nid = \"bloom\"\n";
    let files = MemoryFiles { files: [("main.toml".into(), text.into())].into(), ..MemoryFiles::default() };
    let loaded = parkgate_collector::catalogue::load::<GatewaySettings>(Path::new("main.toml"), &files).unwrap();
    loaded.draft.build(&mut MemoryRegistry::default()).unwrap()
}

fn checked(text: &str) -> Result<Vec<Checked>, Vec<RowError>> {
    check(&park(), &read_csv(text.as_bytes())?)
}

const HEAD: &str = "figure,subject,period,value,unit,document,note\n";

fn facts() -> Facts {
    Facts::open(Path::new(":memory:")).unwrap()
}

fn declare(facts: &Facts, rows: &str, at: i64) -> Entered {
    enter(facts, &checked(&format!("{HEAD}{rows}")).unwrap(), "eve", UtcMillis(at)).unwrap()
}

#[test]
fn every_wrong_row_is_told_with_its_line_and_nothing_is_entered() {
    let rows = "revenue,acme,2025,1200,10k CNY,annual report,\n\
                revenu,acme,2025,1,,doc,\n\
                revenue,acmee,2025,1,,doc,\n\
                revenue,park,2025,1,,doc,\n\
                revenue,acme,25,1,,doc,\n\
                land,acme,2025-06,1,,doc,\n\
                revenue,acme,2024,\"1,200\",,doc,\n\
                revenue,acme,2023,-5,,doc,\n\
                revenue,acme,2022,5,tce,doc,\n\
                revenue,acme,2021,5,,,\n\
                fuel.disel.purchased,acme,2025,5,t,doc,\n\
                high_tech,acme,2025,0.5,,doc,\n\
                energy_allowance,acme,2025,5,,doc,\n\
                \n\
                revenue,acme,2025,7,,doc,\n";
    let errors = checked(&format!("{HEAD}{rows}")).unwrap_err();
    let lines: Vec<String> = errors.iter().map(|error| format!("{} {}: {}\n", error.line, error.column, error.problem)).collect();
    expect_test::expect![[r#"
        3 figure: `revenu` is no figure; the nearest is `revenue`; `parkgate declare template` lists all
        4 subject: `acmee` is no enterprise of the configuration; the nearest enterprise is `acme`
        5 subject: the figure is of an enterprise: write its id
        6 period: `25` is no year such as 2025 and no month such as 2025-06
        7 period: `land` is of a year: write 2025
        8 value: `1,200` is no decimal number such as 12.5: no commas within a number
        9 value: is below 0
        10 unit: `tce` is no unit of it: write one of 10k CNY, 万元, CNY, 元, 亿元
        11 document: is empty: name the paper that the figure rests on
        12 figure: `disel` is no fuel that has a coefficient; the nearest is `diesel`; `parkgate declare template` lists all
        13 value: is 1 for yes or 0 for no
        14 subject: the figure is of the park as a whole: write `park`
        16 figure: is declared in line 2 already: keep one of the two
    "#]]
    .assert_eq(&lines.concat());
}

#[test]
fn files_that_are_no_tables_are_told() {
    let problem = |bytes: &[u8]| {
        read_csv(bytes).unwrap_err().into_iter().map(|error| format!("{}: {}", error.line, error.problem)).collect::<Vec<_>>()
    };
    assert!(problem(b"").len() > 4, "all needed columns are missing");
    // A spreadsheet's GBK: the second line is no UTF-8.
    assert!(problem(b"figure,subject\nrevenue,\xbb\xaa\n")[0].starts_with("2: is not UTF-8"));
    assert!(problem(b"figure,subject,period,value,document,sum\n")[0].contains("`sum` is no column"));
    assert!(problem(b"figure,figure,subject,period,value,document\n")[0].contains("twice"));
    assert!(problem(b"figure,subject,period,value,document\nrevenue,acme,2025,1\n")[0].starts_with("2: has 4 cells, the header has 5"));
    // A byte order mark and another order of columns do no harm; lines of blank cells are passed over.
    let rows = read_csv("\u{feff}document,value,period,subject,Figure\r\nreport,5,2025,acme,revenue\r\n,,,,\r\n".as_bytes()).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].0, rows[0].1.figure.as_str(), rows[0].1.document.as_str()), (2, "revenue", "report"));
    // Lines are those an editor shows: blank ones count, a cell of several lines too, with either end of line.
    let text = "figure,subject,period,value,document\n\na,b,2025,1,\"two\nlines\"\nc,d,2025,2,e\n\n\nf,g,2025,3,h\n";
    for text in [text.to_owned(), text.replace('\n', "\r\n")] {
        let lines: Vec<u64> = read_csv(text.as_bytes()).unwrap().iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [3, 5, 8], "{text:?}");
    }
}

#[test]
fn a_later_entry_takes_the_place_of_an_earlier_one_which_stays() {
    let facts = facts();
    let first = declare(&facts, "revenue,acme,2025,1200,10k CNY,annual report,\nrevenue,bloom,2025,0.3,亿元,annual report,\n", 10);
    assert_eq!(first, Entered { entered: 2, superseded: 0, unchanged: 0 });
    // The same again is no correction; another value is; another period is another figure.
    let second = declare(
        &facts,
        "revenue,acme,2025,1250,10k CNY,audit 7,\nrevenue,bloom,2025,0.3,亿元,annual report,\nrevenue,acme,2024,9,,audit 7,\n",
        20,
    );
    assert_eq!(second, Entered { entered: 2, superseded: 1, unchanged: 1 });
    let declarations = Declarations::read(&facts).unwrap();
    let in_force: Vec<(String, String)> =
        declarations.in_force().map(|(declaration, value)| (declaration.key.to_string(), value.to_string())).collect();
    // 0.3 of 亿元 (100 million CNY) = 3000 of 10k CNY.
    let expected = [("revenue/acme/2024", "9"), ("revenue/acme/2025", "1250"), ("revenue/bloom/2025", "3000")];
    assert_eq!(in_force, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let key = Key { figure: "revenue".into(), subject: "acme".into(), period: "2025".parse().unwrap() };
    let history: Vec<_> = declarations.history(&key).iter().map(|one| (one.given.as_deref(), one.document.as_str(), one.time.0)).collect();
    assert_eq!(history, [(Some("1200"), "annual report", 10), (Some("1250"), "audit 7", 20)]);
}

#[test]
fn a_figure_can_be_taken_back_and_given_again() {
    let facts = facts();
    declare(&facts, "tax,acme,2025,-3,,report,\n", 10);
    assert_eq!(declare(&facts, "tax,acme,2025,withdrawn,,letter,\n", 20).superseded, 1);
    assert_eq!(Declarations::read(&facts).unwrap().in_force().count(), 0);
    // The first value again is an entry again: what counts is what is in force.
    assert_eq!(declare(&facts, "tax,acme,2025,-3,,report,\n", 30).entered, 1);
    assert_eq!(Declarations::read(&facts).unwrap().in_force().count(), 1);
}
