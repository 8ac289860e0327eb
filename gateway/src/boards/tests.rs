//! What Grafana and its linter demand of a board, and what we do, checked on the JSON that is written: for the demo, and
//! for a park that tells no roles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use parkgate_collector::catalogue::{Catalogue, MemoryRegistry};
use parkgate_collector::model::{Medium, Origin};
use parkgate_rules::emission::Averaging;
use parkgate_rules::period::PeriodKind;
use promql_parser::label::MatchOp;
use promql_parser::parser::{self, Expr, VectorSelector};
use serde_json::Value;

use super::*;
use crate::promql::emissions::{self, Shown};
use crate::series::{self, What};

const DEMO: &str = include_str!("../../../config/demo/parkgate.toml");
const FIRST_PARK: &str = include_str!("../../../config/examples/first-park.toml");

/// Fields that `@grafana/schema` 13.2.3 (raw/dashboard, raw/composable, common) and `@grafana/prometheus` 13.1.4
/// (dataquery) have for each object; those with `!` must be there. `*`: any name.
const FIELDS: &[(&str, &str)] = &[
    (
        "",
        "annotations description! editable! fiscalYearStartMonth gnetId graphTooltip! id! links liveNow panels! preload refresh! revision \
         schemaVersion! snapshot tags! templating! time! timepicker timezone! title! uid! version weekStart",
    ),
    ("time", "from! to!"),
    ("annotations", "list!"),
    ("links[]", "asDropdown! icon! includeVars! keepTime! origin placement tags! targetBlank! title! tooltip! type! url"),
    ("templating", "list!"),
    (
        "templating.list[]",
        "allValue allowCustomValue current datasource description enableGroupBy hide includeAll label! multi name! options query! refresh \
         regex regexApplyTo skipUrlSync sort staticOptions staticOptionsOrder type! valuesFormat",
    ),
    ("templating.list[].query", "query! refId!"),
    ("templating.list[].datasource", "type! uid!"),
    ("templating.list[].current", "properties selected text! value!"),
    (
        "panels[]",
        "autoMigrateFrom cacheTimeout datasource! description! fieldConfig! gridPos! hideTimeOverride id! interval libraryPanel links \
         maxDataPoints maxPerRow options! pluginVersion queryCachingTTL repeat repeatDirection targets! timeCompare timeFrom timeShift \
         title! transformations transparent type!",
    ),
    ("panels[].datasource", "type! uid!"),
    ("panels[].gridPos", "h! static w! x! y!"),
    (
        "panels[].targets[]",
        "adhocFilters datasource! editorMode exemplar expr! format! groupByKeys hide instant! interval intervalFactor key legendFormat! \
         queryType range! refId! scopes",
    ),
    ("panels[].targets[].datasource", "type! uid!"),
    ("panels[].fieldConfig", "defaults! overrides!"),
    (
        "panels[].fieldConfig.defaults",
        "actions color custom decimals description displayName displayNameFromDS filterable links mappings max min noValue! path thresholds \
         unit! writeable",
    ),
    ("panels[].fieldConfig.defaults.color", "fixedColor mode! seriesBy"),
    ("panels[].fieldConfig.defaults.thresholds", "mode! steps!"),
    ("panels[].fieldConfig.defaults.thresholds.steps[]", "color! value! valueExpr"),
    ("panels[].fieldConfig.defaults.mappings[]", "options! type!"),
    ("panels[].fieldConfig.defaults.mappings[].options", "*"),
    ("panels[].fieldConfig.defaults.mappings[].options.*", "color icon index text!"),
    (
        "panels[].fieldConfig.defaults.custom(timeseries)",
        "axisBorderShow axisCenteredZero axisColorMode axisGridShow axisLabel axisPlacement axisSoftMax axisSoftMin axisWidth barAlignment \
         barMaxWidth barWidthFactor drawStyle fillBelowTo fillColor fillOpacity gradientMode hideFrom insertNulls lineColor \
         lineInterpolation lineStyle lineWidth pointColor pointSize pointSymbol scaleDistribution showPoints showValues spanNulls! stacking \
         thresholdsStyle transform",
    ),
    ("panels[].fieldConfig.defaults.custom(timeseries).stacking", "group mode"),
    (
        "panels[].fieldConfig.defaults.custom(barchart)",
        "axisBorderShow axisCenteredZero axisColorMode axisGridShow axisLabel axisPlacement axisSoftMax axisSoftMin axisWidth fillOpacity \
         gradientMode hideFrom lineWidth scaleDistribution thresholdsStyle",
    ),
    (
        "panels[].fieldConfig.defaults.custom(state-timeline)",
        "axisBorderShow axisCenteredZero axisColorMode axisGridShow axisLabel axisPlacement axisSoftMax axisSoftMin axisWidth fillOpacity \
         hideFrom lineWidth scaleDistribution",
    ),
    (
        "panels[].fieldConfig.defaults.custom(table)",
        "align! cellOptions! displayMode filterable footer hideFrom hideHeader inspect! minWidth sortable styleField tooltip width \
         wrapHeaderText wrapText",
    ),
    ("panels[].fieldConfig.defaults.custom(table).cellOptions", "type!"),
    ("panels[].fieldConfig.overrides[]", "matcher! properties!"),
    ("panels[].fieldConfig.overrides[].matcher", "id! options! scope"),
    ("panels[].fieldConfig.overrides[].properties[]", "id! value!"),
    ("panels[].fieldConfig.overrides[].properties[].value[]", "options! type!"),
    ("panels[].fieldConfig.overrides[].properties[].value[].options", "*"),
    ("panels[].fieldConfig.overrides[].properties[].value[].options.*", "color icon index text!"),
    (
        "panels[].options(stat)",
        "colorMode! graphMode! justifyMode! orientation! percentChangeColorMode! reduceOptions! showPercentChange! text textMode! wideLayout!",
    ),
    ("panels[].options(stat).reduceOptions", "calcs! fields limit values"),
    (
        "panels[].options(bargauge)",
        "displayMode! legend! maxVizHeight! minVizHeight! minVizWidth! namePlacement! orientation! reduceOptions! showUnfilled! sizing! text \
         valueMode!",
    ),
    ("panels[].options(bargauge).reduceOptions", "calcs! fields limit values"),
    ("panels[].options(timeseries)", "annotations disableKeyboardEvents legend! orientation timeCompare timezone tooltip!"),
    (
        "panels[].options(barchart)",
        "barRadius barWidth! colorByField fullHighlight! groupWidth! legend! orientation! showValue! stacking! text tooltip! xField \
         xTickLabelMaxLength! xTickLabelRotation! xTickLabelSpacing",
    ),
    ("panels[].options(state-timeline)", "alignValue annotations legend! mergeValues perPage rowHeight! showValue! timezone tooltip!"),
    (
        "panels[].options(table)",
        "cellHeight disableKeyboardEvents enablePagination frameIndex! frozenColumns maxRowHeight pageSize showHeader! showTypeIcons sortBy",
    ),
    ("legend", "asTable calcs! displayMode isVisible limit overflow placement! showLegend! sortBy sortDesc width"),
    ("tooltip", "hideZeros maxHeight maxWidth mode! sort!"),
    ("panels[].transformations[]", "disabled filter id! options! topic"),
    ("panels[].transformations[].options", "excludeByName includeByName indexByName renameByName orderByMode orderBy"),
    ("panels[].transformations[].options.excludeByName", "*"),
    ("panels[].transformations[].options.indexByName", "*"),
    ("panels[].transformations[].options.renameByName", "*"),
];

/// Panels that are part of every Grafana.
const PANELS: &[&str] = &["stat", "timeseries", "barchart", "bargauge", "state-timeline", "table"];

/// Ids of units that `@grafana/data` 13.2.3 has (valueFormats/categories) and Grafana's linter 0.1.1 knows; those that
/// our table of units or our boards name.
const UNITS: &[&str] = &[
    "none",
    "percent",
    "dB",
    "ppm",
    "conppb",
    "conmgm3",
    "conμgm3",
    "conmgNm3",
    "bytes",
    "cps",
    "reqps",
    "watt",
    "kwatt",
    "megwatt",
    "voltamp",
    "kvoltamp",
    "voltampreact",
    "kvoltampreact",
    "watth",
    "kwatth",
    "joule",
    "amp",
    "kamp",
    "mamp",
    "volt",
    "kvolt",
    "mvolt",
    "flowcms",
    "flowlpm",
    "litreh",
    "massg",
    "masskg",
    "masst",
    "lengthmm",
    "lengthm",
    "lengthkm",
    "pressurebar",
    "pressurehpa",
    "pressurekpa",
    "pressurepa",
    "celsius",
    "kelvin",
    "hertz",
    "ms",
    "s",
    "m",
    "h",
    "d",
    "velocityms",
    "litre",
    "m3",
    "Nm3",
    "dateTimeFromNow",
];

fn catalogue_of(text: &str) -> Catalogue {
    let mut registry = MemoryRegistry::default();
    let catalogue = crate::testing::catalogue(text, &mut registry);
    crate::own::with_own(catalogue, Origin::Metered, &[], &mut registry).expect("the gateway's own points")
}

fn park(text: &str) -> Park {
    #[derive(serde::Deserialize)]
    struct Main {
        gateway: Settings,
    }
    #[derive(Default, serde::Deserialize)]
    struct Settings {
        #[serde(default)]
        outlet: Vec<parkgate_rules::emission::outlet::Outlet>,
    }
    let outlets = toml::from_str::<Main>(text).map(|main| main.gateway.outlet).unwrap_or_default();
    Park::of(&catalogue_of(text), &outlets)
}

/// The boards of both parks, as JSON.
fn written() -> Vec<(Catalogue, Vec<Value>)> {
    let of = |text| {
        let catalogue = catalogue_of(text);
        let boards = boards(&park(text)).iter().map(|board| serde_json::to_value(board).expect("JSON")).collect();
        (catalogue, boards)
    };
    vec![of(DEMO), of(FIRST_PARK)]
}

fn all() -> Vec<Value> {
    written().into_iter().flat_map(|(_, boards)| boards).collect()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Every panel with its board.
fn panels(boards: &[Value]) -> Vec<(&Value, &Value)> {
    boards.iter().flat_map(|board| list(board, "panels").iter().map(move |panel| (board, panel))).collect()
}

#[test]
fn committed_boards_are_those_of_the_demo() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards");
    let mut expected: BTreeMap<String, String> = boards(&park(DEMO)).iter().map(file).collect();
    for entry in std::fs::read_dir(&folder).expect("the folder dashboards/") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        if name.ends_with(".json") {
            let text = std::fs::read_to_string(folder.join(&name)).expect("a readable file");
            assert!(expected.remove(&name) == Some(text), "dashboards/{name} is not what the generator makes: run `make boards`");
        }
    }
    assert!(expected.is_empty(), "not in dashboards/: {:?}; run `make boards`", expected.keys());
}

#[test]
fn a_park_has_its_boards() {
    let count = |text| boards(&park(text)).into_iter().map(|board| board.uid).collect::<Vec<_>>();
    assert_eq!(
        count(DEMO),
        [
            "parkgate-overview",
            "parkgate-energy",
            "parkgate-water-gas",
            "parkgate-charging",
            "parkgate-emission",
            "parkgate-quota",
            "parkgate-gateway"
        ]
    );
    // No charging piles, no charging board.
    assert_eq!(count(FIRST_PARK), ["parkgate-overview", "parkgate-energy", "parkgate-water-gas", "parkgate-gateway"]);
}

#[test]
fn boards_have_the_form_that_provisioning_needs() {
    let parks = written();
    for (catalogue, boards) in &parks {
        let mut uids = BTreeSet::new();
        for board in boards {
            let uid = text(board, "uid");
            assert!(!uid.is_empty() && uid.len() <= 40 && uids.insert(uid), "{uid}");
            assert!(board["id"].is_null() && board["editable"] == false && board["schemaVersion"] == grafana::SCHEMA_VERSION, "{uid}");
            assert!(board.get("__inputs").is_none() && board.get("__requires").is_none(), "{uid}");
            let zone = if uid == "parkgate-gateway" { "browser" } else { &*catalogue.park.time_zone };
            assert_eq!(text(board, "timezone"), zone, "{uid}");
            let panels = list(board, "panels");
            assert!((1..=20).contains(&panels.len()), "{uid}: {} panels", panels.len());
            let has_roles = catalogue.points.iter().any(|point| point.role.is_some());
            assert!(!has_roles || text(&panels[0], "type") == "stat", "{uid}: the answer comes first");
        }
    }
}

#[test]
fn no_field_is_unknown_to_grafana_and_none_is_missing() {
    for board in all() {
        check_fields(text(&board, "uid"), "", "", &board);
    }
}

/// `kind` is the type of the panel under way.
fn check_fields(uid: &str, path: &str, kind: &str, value: &Value) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| {
            let kind = if path == "panels" { text(item, "type") } else { kind };
            check_fields(uid, &format!("{path}[]"), kind, item);
        }),
        Value::Object(fields) => {
            let last = path.rsplit('.').next().unwrap_or_default();
            let row = if ["legend", "tooltip"].contains(&last) { last } else { path };
            let known = FIELDS.iter().find(|(name, _)| *name == row).unwrap_or_else(|| panic!("{uid}: no row for `{path}`")).1;
            let known: Vec<&str> = known.split_whitespace().collect();
            for required in known.iter().filter_map(|field| field.strip_suffix('!')) {
                assert!(fields.contains_key(required), "{uid}: {path} lacks {required}");
            }
            for (name, item) in fields {
                let is_free = known == ["*"];
                assert!(is_free || known.iter().any(|field| field.trim_end_matches('!') == name), "{uid}: {path} has unknown {name}");
                let name = if is_free { "*" } else { name };
                let own = path.starts_with("panels[]") && (name == "options" && path == "panels[]" || name == "custom");
                let of_kind = if own { format!("({kind})") } else { String::new() };
                let dot = if path.is_empty() { "" } else { "." };
                check_fields(uid, &format!("{path}{dot}{name}{of_kind}"), kind, item);
            }
        }
        _ => {}
    }
}

#[test]
fn panels_stand_on_the_grid_beside_each_other() {
    for board in all() {
        let uid = text(&board, "uid");
        let mut taken = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in list(&board, "panels") {
            assert!(panel["id"].as_u64().is_some_and(|id| id > 0 && ids.insert(id)), "{uid}: {}", panel["id"]);
            let at = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
            assert!(at("w") > 0 && at("h") > 0 && at("x") + at("w") <= u64::from(panel::COLUMNS), "{uid}: {}", panel["gridPos"]);
            for (x, y) in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
                assert!(taken.insert((x, y)), "{uid}: {} covers another panel", panel["title"]);
            }
        }
    }
}

#[test]
fn every_panel_asks_the_chosen_data_source() {
    let boards = all();
    for board in &boards {
        let variables = list(&board["templating"], "list");
        let source = &variables[0];
        assert_eq!([text(source, "name"), text(source, "type"), text(source, "query")], ["datasource", "datasource", "prometheus"]);
        // Rule template-datasource-rule: this label, or "Prometheus data source".
        assert_eq!(text(source, "label"), "Data source");
        for variable in &variables[1..] {
            let (name, query) = (text(variable, "name"), text(&variable["query"], "query"));
            assert_eq!((&variable["refresh"], &variable["multi"]), (&2.into(), &true.into()), "{name}");
            assert!([".+", ".*"].contains(&text(variable, "allValue")), "{name}");
            assert_eq!(variable["datasource"]["uid"], "${datasource}", "{name}");
            let selector = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(&format!(", {name})")));
            parse(selector.unwrap_or_else(|| panic!("{query}")));
            let used = board.to_string().matches(&format!("${name}\\\"")).count();
            assert!(used > 0, "{}: ${name} is not used", text(board, "uid"));
        }
    }
    for (board, panel) in panels(&boards) {
        assert!(PANELS.contains(&text(panel, "type")), "{}", panel["type"]);
        assert!(!list(panel, "targets").is_empty());
        let sources = list(panel, "targets").iter().chain([panel]).map(|asks| &asks["datasource"]);
        for source in sources {
            assert_eq!((text(source, "type"), text(source, "uid")), ("prometheus", "${datasource}"), "{}", text(board, "uid"));
        }
    }
}

#[test]
fn titles_descriptions_and_legends_are_in_both_languages() {
    let chinese = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
    let english = |text: &str| text.split(|c: char| !c.is_ascii_alphabetic()).any(|word| word.len() > 1);
    let both = |text: &str| chinese(text) && english(text);
    let boards = all();
    for board in &boards {
        assert!(both(text(board, "title")) && both(text(board, "description")), "{}", board["title"]);
        // The linter wants "Data source" in English.
        for variable in &list(&board["templating"], "list")[1..] {
            assert!(both(text(variable, "label")), "{}", variable["label"]);
        }
    }
    for (_, panel) in panels(&boards) {
        assert!(both(text(panel, "title")), "{}", panel["title"]);
        let description = text(panel, "description");
        assert!(description.split("\n\n").count() == 2 && both(description), "{description}");
        assert!(both(text(&panel["fieldConfig"]["defaults"], "noValue")));
        for target in list(panel, "targets") {
            let legend = text(target, "legendFormat");
            assert!(legend.contains("{{") || both(legend), "{legend}");
        }
    }
}

#[test]
fn units_are_those_of_grafana() {
    let boards = all();
    for (board, panel) in panels(&boards) {
        let unit = text(&panel["fieldConfig"]["defaults"], "unit");
        assert!(UNITS.contains(&unit) || unit.starts_with("suffix: "), "{}: {unit}", text(board, "uid"));
        // What the linter does not know is an exception of its own.
        if unit.starts_with("suffix: ")
            && ["stat", "timeseries", "table"].contains(&text(panel, "type"))
            && text(board, "timezone") != "browser"
        {
            let lint = include_str!("../../../dashboards/.lint");
            let entry = format!("    - dashboard: {}\n      panel: {}\n", text(board, "title"), text(panel, "title"));
            assert!(lint.contains(&entry), "not in dashboards/.lint:\n{entry}");
        }
    }
}

#[test]
fn no_data_is_never_drawn_as_zero() {
    let boards = all();
    for (_, panel) in panels(&boards) {
        let defaults = &panel["fieldConfig"]["defaults"];
        assert_eq!(text(defaults, "noValue"), grafana::NO_DATA);
        if text(panel, "type") == "timeseries" {
            let custom = &defaults["custom"];
            assert_eq!(custom["spanNulls"], false, "{}", panel["title"]);
            // A meter of every 15 minutes has steps without a value beside it.
            assert!(custom["drawStyle"] == "bars" || custom["showPoints"] == "auto", "{}", panel["title"]);
        }
    }
    for (_, _, expression) in expressions(&boards) {
        // One window or the other, never a filler.
        let expression = expression.replace(") or (last_over_time(", "").replace("(vector(time() ", "");
        assert!(![" or ", "vector(", "absent"].iter().any(|filler| expression.contains(filler)), "{expression}");
    }
}

/// Every expression with its board and panel.
fn expressions(boards: &[Value]) -> Vec<(&Value, &Value, &str)> {
    boards
        .iter()
        .flat_map(|board| list(board, "panels").iter().map(move |panel| (board, panel)))
        .flat_map(|(board, panel)| list(panel, "targets").iter().map(move |target| (board, panel, text(target, "expr"))))
        .collect()
}

/// As Grafana would ask, with everything chosen.
fn parse(expression: &str) -> Expr {
    let plain = expression
        .replace("$__rate_interval", "1m")
        .replace("$__interval", "15m")
        .replace("$__range", "2592000s")
        .replace("$enterprise", ".*")
        .replace("$device", "(gate-power|pile-1)")
        .replace("$outlet", ".+");
    assert!(!plain.contains('$'), "{expression}");
    parser::parse(&plain).unwrap_or_else(|error| panic!("{expression}: {error}"))
}

/// Every selector with the function that takes it, if one does, and its range in seconds.
fn selectors<'a>(expression: &'a Expr, function: Option<&'a str>, found: &mut Vec<(&'a VectorSelector, Option<&'a str>, Option<u64>)>) {
    match expression {
        Expr::Aggregate(aggregate) => selectors(&aggregate.expr, None, found),
        Expr::Unary(unary) => selectors(&unary.expr, None, found),
        Expr::Binary(binary) => [&binary.lhs, &binary.rhs].into_iter().for_each(|side| selectors(side, None, found)),
        Expr::Paren(paren) => selectors(&paren.expr, function, found),
        Expr::Subquery(_) => panic!("subqueries are slow: count it in the gateway"),
        Expr::VectorSelector(selector) => found.push((selector, function, None)),
        Expr::MatrixSelector(matrix) => found.push((&matrix.vs, function, Some(matrix.range.as_secs()))),
        Expr::Call(call) => call.args.args.iter().for_each(|argument| selectors(argument, Some(call.func.name), found)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

#[test]
fn expressions_read_what_there_is() {
    for (catalogue, boards) in written() {
        let mut known = BTreeSet::new();
        for point in &catalogue.points {
            let role = point.role.clone().unwrap_or_default();
            known.extend(What::of(point.identity.kind).into_iter().map(|what| (series::name(point, what), role.clone())));
        }
        let own: BTreeSet<&str> =
            catalogue.points.iter().filter(|point| point.medium == Medium::Gateway).map(|point| &*point.quantity).collect();
        let figures = [Shown::Concentration, Shown::Converted, Shown::Mass, Shown::ValidRatio, Shown::State];
        let averagings = [Averaging::Hour, Averaging::Day, Averaging::Month];
        let mut emissions: BTreeSet<String> =
            averagings.iter().flat_map(|averaging| figures.map(|shown| emissions::name(*averaging, shown))).collect();
        emissions.insert(emissions::LIMIT.into());
        for (_, panel, expression) in expressions(&boards) {
            let parsed = parse(expression);
            let mut found = Vec::new();
            selectors(&parsed, None, &mut found);
            assert!(!found.is_empty(), "{expression}");
            for (selector, ..) in found {
                let name = selector.name.as_deref().unwrap_or_default();
                if name.starts_with(series::INDICATOR) {
                    let [indicator] = selector.matchers.matchers.as_slice() else { panic!("{expression}: one indicator") };
                    assert_eq!((indicator.name.as_str(), matches!(indicator.op, MatchOp::Equal)), ("indicator", true), "{expression}");
                    let known = parkgate_rules::indicator::by_id(&indicator.value).expect("an indicator");
                    let kind = if name.contains("year") { PeriodKind::Year } else { PeriodKind::Month };
                    assert!(known.periods.contains(&kind), "{expression}: {} is not formed for it", known.id);
                } else if name.starts_with("park_emission_") {
                    assert!(emissions.contains(name), "{expression}");
                } else if name.starts_with("park_") {
                    // Exactly one role, so that no sum has both a gate and what is behind it.
                    let roles: Vec<_> = selector.matchers.matchers.iter().filter(|matcher| matcher.name == "role").collect();
                    let [role] = roles.as_slice() else { panic!("{expression}: {} roles", roles.len()) };
                    assert!(matches!(role.op, MatchOp::Equal), "{expression}");
                    assert!(known.contains(&(name.to_owned(), role.value.clone())), "{}: nothing for {expression}", panel["title"]);
                } else {
                    assert!(own.contains(name), "the gateway does not record {name}");
                }
            }
        }
    }
}

/// Totals are counted by the gateway: `rate` and `increase` extrapolate. The gateway's own counters have nothing else.
#[test]
fn rates_are_for_the_gateways_own_counters_only() {
    for (_, _, expression) in expressions(&all()) {
        let parsed = parse(expression);
        let mut found = Vec::new();
        selectors(&parsed, None, &mut found);
        for (selector, function, range) in found {
            let name = selector.name.as_deref().unwrap_or_default();
            let is_rate = matches!(function, Some("rate" | "irate" | "increase" | "delta" | "idelta"));
            let is_counter = ["_total", "_sum", "_count"].iter().any(|end| name.ends_with(end));
            assert_eq!(is_rate, name.starts_with("parkgate_") && is_counter, "{expression}");
            // Rule target-rate-interval-rule.
            assert!(!is_rate || range == Some(60), "{expression}: use $__rate_interval");
        }
    }
}

/// A bar's window is its step: then each period is found once, and none stands in another's place.
#[test]
fn bars_look_back_exactly_one_step() {
    let boards = all();
    let mut bars = 0;
    for (_, panel, expression) in expressions(&boards) {
        let custom = &panel["fieldConfig"]["defaults"]["custom"];
        if custom["drawStyle"] != "bars" && panel["type"] != "barchart" {
            continue;
        }
        bars += 1;
        let parsed = parse(expression);
        let mut found = Vec::new();
        selectors(&parsed, None, &mut found);
        let step = if panel["interval"] == "1h" { 3600 } else { 86_400 };
        assert_eq!(
            found.iter().map(|(_, function, range)| (*function, *range)).collect::<Vec<_>>(),
            [(Some("last_over_time"), Some(step))]
        );
        assert!(panel["maxDataPoints"].as_u64().is_some_and(|most| (9_000..=11_000).contains(&most)), "{}", panel["title"]);
        assert!(panel["type"] == "barchart" || custom["barAlignment"] == 1, "a bar begins at its stamp");
    }
    assert!(bars > 10, "{bars}");
}

/// The demo with another gate meter for electricity, and with piles as `piles` makes them of theirs.
fn park_of(gates: usize, piles: impl Fn(usize) -> &'static str) -> Park {
    let mut park = park(DEMO);
    for flow in &mut park.flows {
        if flow.quantity == "energy_import" {
            let gate = flow.meters.iter().find(|meter| meter.role.as_deref() == Some("gate")).unwrap().clone();
            flow.meters.extend((1..gates).map(|number| park::Meter { device: format!("gate-{number}"), ..gate.clone() }));
        }
        if flow.medium == Medium::Charging {
            for (place, meter) in flow.meters.iter_mut().enumerate() {
                meter.role = Some(piles(place).to_owned()).filter(|role| !role.is_empty());
            }
        }
    }
    park
}

fn expressions_of(park: &Park, uid: &str) -> Vec<String> {
    let boards: Vec<Value> = boards(park).iter().map(|board| serde_json::to_value(board).unwrap()).collect();
    let of_board = expressions(&boards).into_iter().filter(|(board, ..)| text(board, "uid") == uid);
    of_board.map(|(_, _, expression)| expression.to_owned()).collect()
}

#[test]
fn a_sum_over_gates_needs_all_of_them() {
    let day = r#"park_energy_import_day_current_kwh{role="gate"}"#;
    assert!(expressions_of(&park_of(1, |_| "sub"), "parkgate-energy").contains(&format!("sum({day})")));
    let of_two = expressions_of(&park_of(2, |_| "sub"), "parkgate-energy");
    assert!(of_two.contains(&format!("sum({day}) and on () (count({day}) == 2)")), "{of_two:#?}");
    for expression in of_two.iter().filter(|expression| expression.starts_with("sum(") && expression.contains(r#"import_"#)) {
        assert!(expression.ends_with("== 2)"), "{expression}");
    }
}

#[test]
fn piles_are_told_apart_from_the_meter_before_them() {
    let behind_a_gate = expressions_of(&park_of(1, |place| if place == 0 { "gate" } else { "sub" }), "parkgate-charging");
    assert!(behind_a_gate.contains(&r#"sum(park_charging_power_kw{role="gate"})"#.to_owned()), "{behind_a_gate:#?}");
    assert!(behind_a_gate.contains(&r#"sum(park_charging_power_kw{role="sub"} > bool 0.1)"#.to_owned()), "{behind_a_gate:#?}");
    assert!(!behind_a_gate.iter().any(|expression| expression.starts_with("sum by (device)") && expression.contains("gate")));
    let without_roles = expressions_of(&park_of(1, |_| ""), "parkgate-charging");
    assert!(
        without_roles.iter().all(|expression| !expression.starts_with("sum(park_") || expression.contains("> bool")),
        "{without_roles:#?}"
    );
    assert!(without_roles.iter().any(|expression| expression.starts_with("sum by (device)")));
}

#[test]
fn yesterday_and_last_month_are_no_other() {
    let day = r#"park_energy_import_day_kwh{role="gate"}"#;
    let of_zone = |zone: &str| {
        let park = park(&DEMO.replace("Asia/Shanghai", zone));
        let found = expressions_of(&park, "parkgate-overview").into_iter().find(|expression| expression.contains("[40h]"));
        (park.seconds_east, found.unwrap())
    };
    for (zone, seconds, hour) in [
        ("Asia/Shanghai", 28_800, "+ 28800"),
        ("Europe/Berlin", 3_600, "+ 3600"),
        ("America/New_York", -18_000, "- 18000"),
        ("Asia/Kolkata", 19_800, "+ 19800"),
        ("UTC", 0, "+ 0"),
    ] {
        let hour = format!("hour(vector(time() {hour}))");
        let expected =
            format!("sum((last_over_time({day}[40h]) and on () ({hour} < 12)) or (last_over_time({day}[50h]) and on () ({hour} >= 12)))");
        assert_eq!(of_zone(zone), (seconds, expected), "{zone}");
    }
    // The windows hold the day before from its start on, and never the one before that: each hour of two years.
    for zone in ["Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"] {
        let east = jiff::SignedDuration::from_secs(i64::from(park(&DEMO.replace("Asia/Shanghai", zone)).seconds_east));
        let zone = jiff::tz::TimeZone::get(zone).unwrap();
        let mut now = jiff::Timestamp::from_second(1_767_225_600).unwrap();
        for _ in 0..2 * 365 * 24 {
            let local = now.to_zoned(zone.clone());
            let before = |start: &jiff::Zoned| (now.as_second() - start.timestamp().as_second()) / 60;
            let (today, month) = (local.start_of_day().unwrap(), local.first_of_month().unwrap().start_of_day().unwrap());
            let told = (now + east).to_zoned(jiff::tz::TimeZone::UTC);
            // In summer they are told an hour late.
            let is_late = told.date() != local.date();
            let window = if told.hour() < 12 { 40 } else { 50 } * 60;
            let days =
                [1, 2].map(|days| before(&today.date().checked_sub(jiff::Span::new().days(days)).unwrap().to_zoned(zone.clone()).unwrap()));
            assert!(days[0] < window && (window <= days[1] || is_late), "{local}: {days:?} of {window}");
            let window = if told.day() <= 10 { 45 } else { 63 } * 24 * 60;
            let months = [1, 2]
                .map(|months| before(&month.date().checked_sub(jiff::Span::new().months(months)).unwrap().to_zoned(zone.clone()).unwrap()));
            assert!(months[0] < window && (window <= months[1] || is_late), "{local}: {months:?} of {window}");
            now += jiff::SignedDuration::from_hours(1);
        }
    }
}

#[test]
fn a_park_without_roles_adds_nothing_up() {
    let boards = &written()[1].1;
    for (board, _, expression) in expressions(boards) {
        assert!(text(board, "timezone") == "browser" || !expression.starts_with("sum(park_"), "{expression}");
    }
}

#[test]
fn flows_of_another_unit_are_kept_apart() {
    let text = DEMO.replace(
        r#"{ id = "gas_volume", name = { zh = "累计气量", en = "Gas volume" }, scale = 0.01, reference = "twenty_degrees""#,
        r#"{ id = "gas_volume", name = { zh = "累计气量", en = "Gas volume" }, scale = 0.01, reference = "zero_degrees", raw_unit = "Nm3""#,
    );
    assert_ne!(text, DEMO);
    let park = park(&text);
    let gas: Vec<_> = park.flows_of("gas_volume").map(|flow| (flow.unit(), flow.medium, flow.meters.len(), flow.total_role())).collect();
    assert_eq!(gas, [("m3".into(), Medium::Gas, 3, Some("gate")), ("Nm3".into(), Medium::Gas, 1, Some("sub"))]);
    assert_eq!(
        park.flows_of("gas_volume").map(|flow| flow.series(What::Samples)).collect::<Vec<_>>(),
        ["park_gas_volume_m3", "park_gas_volume_nm3"]
    );
}
