//! Panels and their places: how each kind of question looks, the same on every board.

use std::collections::BTreeMap;

use super::grafana::{
    Annotations, Bars, BarsOptions, Cell, CellOptions, Color, Custom, DATA_SOURCE, Dashboard, DataSource, Defaults, FieldConfig,
    GaugeOptions, Graph, GraphOptions, GridPos, Legend, Link, Mapping, MappingResult, Matcher, NO_DATA, Options, Organize, Override, Panel,
    Property, PropertyValue, SCHEMA_VERSION, Stacking, StatOptions, Step, TableOptions, Target, Templating, Thresholds, TimeRange,
    Timeline, TimelineOptions, Tooltip, Transformation, TransformationOptions, Variable, VariableOption, VariableQuery, last,
};
use super::park::Meter;
use crate::rollup::Level;
use crate::titles::Title;

/// Columns of the grid.
pub const COLUMNS: u8 = 24;
/// Tag of all boards.
const TAG: &str = "parkgate";
/// Most steps of a panel of totals; data sources refuse more than 11,000. Hours of 13 months.
const STEPS_MAX: u32 = 10_000;
/// Meters of a panel that get their names in both languages; further ones are shown by their ids.
const NAMED_METERS_MAX: usize = 50;

/// A title of both languages.
pub fn t(zh: impl Into<String>, en: impl Into<String>) -> Title {
    Title::new(zh, en)
}

/// A request with the name of its series.
#[derive(Clone, Debug)]
pub struct Query {
    /// PromQL.
    pub expr: String,
    /// Grafana's legend format.
    pub legend: String,
}

/// A request.
pub fn query(expr: impl Into<String>, legend: &Title) -> Query {
    Query { expr: expr.into(), legend: legend.line() }
}

/// A request whose series are named by their device.
pub fn by_device(expr: impl Into<String>) -> Query {
    Query { expr: expr.into(), legend: "{{device}}".into() }
}

/// One figure.
pub fn stat(title: &Title, description: &Title, unit: &str, expr: impl Into<String>) -> Panel {
    let defaults = Defaults { unit: unit.into(), thresholds: Some(thresholds("text", &[])), ..Defaults::default() };
    let options = StatOptions {
        reduce_options: last(),
        orientation: "auto",
        text_mode: "value",
        color_mode: "value",
        graph_mode: "none",
        justify_mode: "auto",
        wide_layout: true,
        show_percent_change: false,
        percent_change_color_mode: "standard",
    };
    panel("stat", title, description, defaults, Options::Stat(options), instant(vec![query(expr, title)]))
}

/// Lines of momentary values.
pub fn lines(title: &Title, description: &Title, unit: &str, queries: Vec<Query>) -> Panel {
    // A value between two steps without one is a point: a line would not show it.
    let style = Graph { draw_style: "line", fill_opacity: 8, show_points: "auto", ..graph() };
    graph_panel(title, description, unit, style, queries)
}

/// Bars of closed totals: one for each period, standing on its start. The expression must look back one period.
pub fn bars(title: &Title, description: &Title, unit: &str, level: Level, queries: Vec<Query>) -> Panel {
    let mut panel = graph_panel(title, description, unit, graph(), queries);
    panel.field_config.defaults.min = Some(0.0);
    stepped(panel, level)
}

/// The same, stacked.
pub fn stacked_bars(title: &Title, description: &Title, unit: &str, level: Level, queries: Vec<Query>) -> Panel {
    let style = Graph { stacking: Stacking { mode: "normal", group: "A" }, ..graph() };
    let mut panel = graph_panel(title, description, unit, style, queries);
    panel.field_config.defaults.min = Some(0.0);
    stepped(panel, level)
}

/// Bars of months, one beside the other whatever their length.
pub fn months(title: &Title, description: &Title, unit: &str, queries: Vec<Query>) -> Panel {
    let defaults = Defaults {
        unit: unit.into(),
        min: Some(0.0),
        color: Some(Color { mode: "palette-classic", fixed_color: None }),
        custom: Some(Custom::Bars(Bars { fill_opacity: 80, line_width: 1 })),
        ..Defaults::default()
    };
    let options = BarsOptions {
        orientation: "auto",
        x_field: "Time",
        show_value: "auto",
        stacking: "none",
        group_width: 0.7,
        bar_width: 0.9,
        full_highlight: false,
        x_tick_label_rotation: 0,
        x_tick_label_max_length: 0,
        legend: legend(),
        tooltip: tooltip(),
    };
    let mut panel = panel("barchart", title, description, defaults, Options::Bars(options), ranged(queries));
    panel.field_config.overrides.push(Override {
        matcher: Matcher { id: "byName", options: "Time".into() },
        properties: vec![Property { id: "unit", value: PropertyValue::Text("time:YYYY-MM".into()) }],
    });
    // A month has its value on its first day and no other: the step of a day finds it.
    panel.interval = Some("1d".into());
    panel.max_data_points = Some(STEPS_MAX);
    panel
}

/// One bar for each meter.
pub fn gauges(title: &Title, description: &Title, unit: &str, queries: Vec<Query>) -> Panel {
    let defaults = Defaults {
        unit: unit.into(),
        min: Some(0.0),
        color: Some(Color { mode: "palette-classic", fixed_color: None }),
        ..Defaults::default()
    };
    let options = GaugeOptions {
        reduce_options: last(),
        orientation: "horizontal",
        display_mode: "basic",
        value_mode: "text",
        name_placement: "left",
        show_unfilled: false,
        sizing: "auto",
        min_viz_width: 8,
        min_viz_height: 16,
        max_viz_height: 60,
        legend: Legend { show_legend: false, ..legend() },
    };
    panel("bargauge", title, description, defaults, Options::Gauge(options), instant(queries))
}

/// What state things were in.
pub fn timeline(title: &Title, description: &Title, mappings: Vec<Mapping>, queries: Vec<Query>) -> Panel {
    let defaults = Defaults {
        unit: "none".into(),
        color: Some(Color { mode: "palette-classic", fixed_color: None }),
        mappings,
        custom: Some(Custom::Timeline(Timeline { fill_opacity: 70, line_width: 0 })),
        ..Defaults::default()
    };
    let options = TimelineOptions {
        merge_values: true,
        show_value: "auto",
        align_value: "left",
        row_height: 0.8,
        legend: legend(),
        tooltip: tooltip(),
    };
    panel("state-timeline", title, description, defaults, Options::Timeline(options), ranged(queries))
}

/// A table with one row per device and one column per request.
pub fn table(title: &Title, description: &Title, unit: &str, meters: &[&Meter], queries: Vec<Query>) -> Panel {
    let device = t("表计", "Meter").line();
    let mut rename = BTreeMap::from([("device".to_owned(), device.clone())]);
    let mut index = BTreeMap::from([("device".to_owned(), 0)]);
    for (place, query) in (1u32..).zip(&queries) {
        let column = format!("Value #{}", ref_id(place));
        index.insert(column.clone(), place);
        rename.insert(column, query.legend.clone());
    }
    let defaults = Defaults {
        unit: unit.into(),
        custom: Some(Custom::Cell(Cell { align: "auto", cell_options: CellOptions { kind: "auto" }, inspect: false })),
        ..Defaults::default()
    };
    let options = TableOptions { frame_index: 0, show_header: true, cell_height: "sm" };
    let mut targets = instant(queries);
    for target in &mut targets {
        target.format = "table";
    }
    let mut panel = panel("table", title, description, defaults, Options::Table(options), targets);
    let exclude = BTreeMap::from([("Time".to_owned(), true)]);
    let organize = Organize { exclude_by_name: exclude, index_by_name: index, rename_by_name: rename };
    panel.transformations = vec![
        Transformation { id: "merge", options: TransformationOptions::Merge {} },
        Transformation { id: "organize", options: TransformationOptions::Organize(organize) },
    ];
    let names: Vec<(String, String)> =
        meters.iter().take(NAMED_METERS_MAX).map(|meter| (meter.device.clone(), meter.name.line())).collect();
    if !names.is_empty() {
        let properties = vec![Property { id: "mappings", value: PropertyValue::Mappings(vec![words(names, &[])]) }];
        panel.field_config.overrides.push(Override { matcher: Matcher { id: "byName", options: device }, properties });
    }
    panel
}

/// The value turns red from `limit` on.
pub fn red_from(mut panel: Panel, limit: f64) -> Panel {
    panel.field_config.defaults.thresholds = Some(thresholds("green", &[("red", limit)]));
    panel
}

/// With a range of its own, `30d`, whatever range the board shows.
pub fn over(mut panel: Panel, range: &str) -> Panel {
    panel.time_from = Some(range.to_owned());
    panel
}

/// With steps no shorter than `interval`.
pub fn every(mut panel: Panel, interval: &str) -> Panel {
    panel.interval = Some(interval.to_owned());
    panel
}

/// Series named by devices get the names of these, as long as they are not too many.
pub fn named<'a>(mut panel: Panel, meters: impl Iterator<Item = &'a Meter>) -> Panel {
    let overrides = meters.take(NAMED_METERS_MAX).map(|meter| Override {
        matcher: Matcher { id: "byName", options: meter.device.clone() },
        properties: vec![Property { id: "displayName", value: PropertyValue::Text(meter.name.line()) }],
    });
    panel.field_config.overrides.extend(overrides);
    panel
}

/// Words for values, with the colours of the first.
pub fn words(words: Vec<(String, String)>, colors: &[&'static str]) -> Mapping {
    let result = |(index, (value, text)): (u32, (String, String))| {
        let color = usize::try_from(index).ok().and_then(|index| colors.get(index)).copied();
        (value, MappingResult { text, color, index })
    };
    Mapping { kind: "value", options: (0u32..).zip(words).map(result).collect() }
}

/// A board under construction.
#[derive(Debug)]
pub struct Board {
    dashboard: Dashboard,
    /// Where the next panel goes.
    x: u8,
    y: u8,
    /// Height of the row under way.
    row: u8,
}

impl Board {
    /// An empty board. `uid` goes after `parkgate-`.
    pub fn new(uid: &str, title: &Title, description: &Title, time_zone: &str, from: &str) -> Self {
        let link = Link {
            kind: "dashboards",
            title: t("看板", "Boards").line(),
            tooltip: String::new(),
            icon: "external link",
            tags: vec![TAG.into()],
            as_dropdown: true,
            include_vars: false,
            keep_time: false,
            target_blank: false,
        };
        let data_source = Variable {
            name: "datasource".into(),
            // Grafana's linter demands this label.
            label: "Data source".into(),
            kind: "datasource",
            query: VariableQuery::DataSource("prometheus"),
            datasource: None,
            refresh: 1,
            sort: 0,
            multi: false,
            include_all: false,
            all_value: None,
            current: VariableOption::default(),
        };
        let dashboard = Dashboard {
            id: None,
            uid: format!("{TAG}-{uid}"),
            title: title.line(),
            description: both(description),
            tags: vec![TAG.into()],
            timezone: time_zone.into(),
            time: TimeRange { from: from.into(), to: "now".into() },
            refresh: "1m".into(),
            graph_tooltip: 1,
            editable: false,
            schema_version: SCHEMA_VERSION,
            annotations: Annotations::default(),
            links: vec![link],
            templating: Templating { list: vec![data_source] },
            panels: Vec::new(),
        };
        Self { dashboard, x: 0, y: 0, row: 0 }
    }

    /// A variable with the values of a label of a series, all of them chosen at first.
    ///
    /// `all` is the regular expression for "All": `.+` for a label that every series has, `.*` for one that some lack.
    pub fn variable(&mut self, name: &str, label: &Title, series: &str, all: &str) {
        self.dashboard.templating.list.push(Variable {
            name: name.into(),
            label: label.line(),
            kind: "query",
            query: VariableQuery::Prometheus { query: format!("label_values({series}, {name})"), ref_id: "variable" },
            datasource: Some(DATA_SOURCE),
            refresh: 2,
            sort: 1,
            multi: true,
            include_all: true,
            all_value: Some(all.into()),
            current: VariableOption { text: "All", value: "$__all" },
        });
    }

    /// Adds a panel to the row under way, or to the next one if it does not fit.
    pub fn add(&mut self, width: u8, height: u8, mut panel: Panel) {
        if self.x + width > COLUMNS {
            self.end_row();
        }
        panel.grid_pos = GridPos { h: height, w: width, x: self.x, y: self.y };
        panel.id = u32::try_from(self.dashboard.panels.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.x += width;
        self.row = self.row.max(height);
        self.dashboard.panels.push(panel);
    }

    /// Adds panels side by side, in rows as full as they can be.
    pub fn add_evenly(&mut self, per_row: u8, height: u8, panels: Vec<Panel>) {
        let mut panels = std::collections::VecDeque::from(panels);
        while !panels.is_empty() {
            let count = u8::try_from(panels.len()).unwrap_or(u8::MAX).min(per_row.max(1));
            self.end_row();
            for _ in 0..count {
                if let Some(panel) = panels.pop_front() {
                    self.add(COLUMNS / count, height, panel);
                }
            }
        }
        self.end_row();
    }

    fn end_row(&mut self) {
        self.y += self.row;
        (self.x, self.row) = (0, 0);
    }

    /// The board; `None` when it has nothing to show.
    pub fn finish(self) -> Option<Dashboard> {
        (!self.dashboard.panels.is_empty()).then_some(self.dashboard)
    }
}

fn both(text: &Title) -> String {
    format!("{}\n\n{}", text.zh, text.en)
}

fn panel(kind: &'static str, title: &Title, description: &Title, mut defaults: Defaults, options: Options, targets: Vec<Target>) -> Panel {
    defaults.no_value = NO_DATA;
    Panel {
        id: 0,
        kind,
        title: title.line(),
        description: both(description),
        grid_pos: GridPos { h: 1, w: 1, x: 0, y: 0 },
        datasource: DATA_SOURCE,
        targets,
        field_config: FieldConfig { defaults, overrides: Vec::new() },
        options,
        interval: None,
        max_data_points: None,
        time_from: None,
        transformations: Vec::new(),
    }
}

fn graph_panel(title: &Title, description: &Title, unit: &str, style: Graph, queries: Vec<Query>) -> Panel {
    let defaults = Defaults {
        unit: unit.into(),
        color: Some(Color { mode: "palette-classic", fixed_color: None }),
        custom: Some(Custom::Graph(style)),
        ..Defaults::default()
    };
    let options = Options::Graph(GraphOptions { legend: legend(), tooltip: tooltip() });
    panel("timeseries", title, description, defaults, options, ranged(queries))
}

fn graph() -> Graph {
    Graph {
        draw_style: "bars",
        line_interpolation: "linear",
        line_width: 1,
        fill_opacity: 80,
        bar_alignment: 1,
        bar_width_factor: 0.8,
        span_nulls: false,
        show_points: "never",
        stacking: Stacking { mode: "none", group: "A" },
    }
}

fn stepped(mut panel: Panel, level: Level) -> Panel {
    panel.interval = Some(super::expression::range(level).into());
    panel.max_data_points = Some(STEPS_MAX);
    panel
}

fn legend() -> Legend {
    Legend { display_mode: "list", placement: "bottom", show_legend: true, calcs: Vec::new() }
}

fn tooltip() -> Tooltip {
    Tooltip { mode: "multi", sort: "desc" }
}

fn thresholds(base: &'static str, steps: &[(&'static str, f64)]) -> Thresholds {
    let base = std::iter::once(Step { color: base, value: None });
    Thresholds { mode: "absolute", steps: base.chain(steps.iter().map(|&(color, value)| Step { color, value: Some(value) })).collect() }
}

fn instant(queries: Vec<Query>) -> Vec<Target> {
    targets(queries, true)
}

fn ranged(queries: Vec<Query>) -> Vec<Target> {
    targets(queries, false)
}

fn targets(queries: Vec<Query>, instant: bool) -> Vec<Target> {
    let target = |(place, query): (u32, Query)| Target {
        ref_id: ref_id(place),
        datasource: DataSource { ..DATA_SOURCE },
        expr: query.expr,
        legend_format: query.legend,
        instant,
        range: !instant,
        format: "time_series",
        editor_mode: "code",
    };
    (1u32..).zip(queries).map(target).collect()
}

/// A for 1, B for 2; boards have few requests a panel.
fn ref_id(place: u32) -> String {
    char::from_u32(u32::from('A') + (place - 1).min(25)).unwrap_or('Z').to_string()
}
