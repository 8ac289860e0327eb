//! Grafana's classic dashboard schema, as far as our boards use it: `@grafana/schema` 13.2.3, raw/dashboard and
//! raw/composable. Field names are Grafana's; a field that is not here is not in our boards.

use std::collections::BTreeMap;

use serde::Serialize;

/// The classic schema's version that boards are written in. Grafana 13 has 42 and takes older ones.
pub const SCHEMA_VERSION: u32 = 41;
/// What a panel shows where there is nothing: never 0.
pub const NO_DATA: &str = "无数据 · No data";

/// A dashboard.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dashboard {
    /// `null`: Grafana gives a number of its own.
    pub id: Option<u32>,
    /// Stable, at most 40 characters.
    pub uid: String,
    /// Title.
    pub title: String,
    /// What it answers.
    pub description: String,
    /// By which boards find each other.
    pub tags: Vec<String>,
    /// The park's zone where days and months count, else `browser`.
    pub timezone: String,
    /// Range shown at first.
    pub time: TimeRange,
    /// How often it asks again.
    pub refresh: String,
    /// 1: one crosshair for all panels.
    pub graph_tooltip: u8,
    /// Boards come from files.
    pub editable: bool,
    /// See [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// None.
    pub annotations: Annotations,
    /// To the other boards.
    pub links: Vec<Link>,
    /// Variables.
    pub templating: Templating,
    /// Panels.
    pub panels: Vec<Panel>,
}

/// A time range in Grafana's words: `now-30d/d`.
#[derive(Clone, Debug, Serialize)]
pub struct TimeRange {
    /// Start.
    pub from: String,
    /// End.
    pub to: String,
}

/// Annotations of a board.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Annotations {
    /// None so far.
    pub list: Vec<BTreeMap<String, String>>,
}

/// A menu of boards.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// `dashboards`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Title.
    pub title: String,
    /// Tooltip.
    pub tooltip: String,
    /// Icon.
    pub icon: &'static str,
    /// Boards with all of these.
    pub tags: Vec<String>,
    /// As a menu.
    pub as_dropdown: bool,
    /// With the variables of this board.
    pub include_vars: bool,
    /// With the range of this board.
    pub keep_time: bool,
    /// In a window of its own.
    pub target_blank: bool,
}

/// Variables of a board.
#[derive(Clone, Debug, Serialize)]
pub struct Templating {
    /// In the order shown.
    pub list: Vec<Variable>,
}

/// A variable.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    /// Name in expressions.
    pub name: String,
    /// Label shown.
    pub label: String,
    /// `datasource` or `query`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What is asked.
    pub query: VariableQuery,
    /// Whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datasource: Option<DataSource>,
    /// 1: when the board is loaded; 2: when the range changes, too.
    pub refresh: u8,
    /// 1: by alphabet.
    pub sort: u8,
    /// More than one at a time.
    pub multi: bool,
    /// With "All".
    pub include_all: bool,
    /// What "All" stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_value: Option<String>,
    /// Chosen at first.
    pub current: VariableOption,
}

/// What a variable asks.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum VariableQuery {
    /// Type of data source.
    DataSource(&'static str),
    /// Of the Prometheus data source.
    Prometheus {
        /// `label_values(metric, label)`.
        query: String,
        /// Name of the request.
        #[serde(rename = "refId")]
        ref_id: &'static str,
    },
}

/// A variable's value.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VariableOption {
    /// Shown.
    pub text: &'static str,
    /// Used.
    pub value: &'static str,
}

/// Reference to a data source.
#[derive(Clone, Debug, Serialize)]
pub struct DataSource {
    /// Type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Uid, here always the variable.
    pub uid: &'static str,
}

/// The data source that a person chooses.
pub const DATA_SOURCE: DataSource = DataSource { kind: "prometheus", uid: "${datasource}" };

/// Place on the grid of 24 columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GridPos {
    /// Height in rows of 30 pixels.
    pub h: u8,
    /// Width in columns.
    pub w: u8,
    /// Left edge.
    pub x: u8,
    /// Upper edge.
    pub y: u8,
}

/// A panel.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Panel {
    /// Unique in the board.
    pub id: u32,
    /// A built-in panel: `stat`, `timeseries`, `barchart`, `bargauge`, `table`, `state-timeline`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Title.
    pub title: String,
    /// What it says, and how it is counted.
    pub description: String,
    /// Place.
    pub grid_pos: GridPos,
    /// Whom it asks.
    pub datasource: DataSource,
    /// What it asks.
    pub targets: Vec<Target>,
    /// How values are shown.
    pub field_config: FieldConfig,
    /// Settings of the panel's type.
    pub options: Options,
    /// Shortest step: the period of a total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// Most steps; beyond, Grafana takes longer ones and totals would be missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_data_points: Option<u32>,
    /// A range of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_from: Option<String>,
    /// What is done with the answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transformations: Vec<Transformation>,
}

/// A request of a panel.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// A, B, ...
    pub ref_id: String,
    /// Whom.
    pub datasource: DataSource,
    /// PromQL.
    pub expr: String,
    /// Name of a series.
    pub legend_format: String,
    /// One value, at the end of the range.
    pub instant: bool,
    /// Values over the range.
    pub range: bool,
    /// `time_series` or `table`.
    pub format: &'static str,
    /// Written as text, not clicked together.
    pub editor_mode: &'static str,
}

/// How values are shown.
#[derive(Clone, Debug, Serialize)]
pub struct FieldConfig {
    /// For all.
    pub defaults: Defaults,
    /// For some.
    pub overrides: Vec<Override>,
}

/// How all values of a panel are shown.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Defaults {
    /// Id of a unit.
    pub unit: String,
    /// Decimals shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u8>,
    /// Lower end of the axis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Shown where there is nothing.
    pub no_value: &'static str,
    /// Colours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color: Option<Color>,
    /// Thresholds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Thresholds>,
    /// Words for values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mappings: Vec<Mapping>,
    /// Settings of the panel's type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<Custom>,
}

/// Where colours come from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Color {
    /// `thresholds`, `palette-classic`, `fixed`.
    pub mode: &'static str,
    /// With `fixed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed_color: Option<&'static str>,
}

/// Thresholds.
#[derive(Clone, Debug, Serialize)]
pub struct Thresholds {
    /// `absolute`.
    pub mode: &'static str,
    /// From the lowest on.
    pub steps: Vec<Step>,
}

/// A colour from a value on.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Colour.
    pub color: &'static str,
    /// From here; `null`: from below.
    pub value: Option<f64>,
}

/// Words for values.
#[derive(Clone, Debug, Serialize)]
pub struct Mapping {
    /// `value`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Value to word.
    pub options: BTreeMap<String, MappingResult>,
}

/// The word for a value.
#[derive(Clone, Debug, Serialize)]
pub struct MappingResult {
    /// Shown instead.
    pub text: String,
    /// Its colour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color: Option<&'static str>,
    /// Order in legends.
    pub index: u32,
}

/// Settings of a field by the panel's type.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Custom {
    /// Of `timeseries`.
    Graph(Graph),
    /// Of `barchart`.
    Bars(Bars),
    /// Of `state-timeline`.
    Timeline(Timeline),
    /// Of `table`.
    Cell(Cell),
}

/// Settings of a graph.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Graph {
    /// `line` or `bars`.
    pub draw_style: &'static str,
    /// Straight lines between values, or steps.
    pub line_interpolation: &'static str,
    /// Width.
    pub line_width: u8,
    /// Opacity in percent.
    pub fill_opacity: u8,
    /// 1: a bar begins at its time, which is the start of its period.
    pub bar_alignment: i8,
    /// Share of the period that a bar fills.
    pub bar_width_factor: f64,
    /// A gap stays a gap.
    pub span_nulls: bool,
    /// Points: `never` or `auto`.
    pub show_points: &'static str,
    /// Stacking.
    pub stacking: Stacking,
}

/// Stacking of series.
#[derive(Clone, Debug, Serialize)]
pub struct Stacking {
    /// `none` or `normal`.
    pub mode: &'static str,
    /// Series of one group are stacked.
    pub group: &'static str,
}

/// Settings of a bar chart.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bars {
    /// Opacity in percent.
    pub fill_opacity: u8,
    /// Width.
    pub line_width: u8,
}

/// Settings of a state timeline.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// Opacity in percent.
    pub fill_opacity: u8,
    /// Width.
    pub line_width: u8,
}

/// Settings of a table's cells.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// `auto`.
    pub align: &'static str,
    /// Type of the cell.
    pub cell_options: CellOptions,
    /// With a look at the whole value.
    pub inspect: bool,
}

/// Type of a table's cell.
#[derive(Clone, Debug, Serialize)]
pub struct CellOptions {
    /// `auto`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// How some values of a panel are shown.
#[derive(Clone, Debug, Serialize)]
pub struct Override {
    /// Which.
    pub matcher: Matcher,
    /// How.
    pub properties: Vec<Property>,
}

/// Which values.
#[derive(Clone, Debug, Serialize)]
pub struct Matcher {
    /// `byName`.
    pub id: &'static str,
    /// The name.
    pub options: String,
}

/// One property.
#[derive(Clone, Debug, Serialize)]
pub struct Property {
    /// Its path.
    pub id: &'static str,
    /// Its value.
    pub value: PropertyValue,
}

/// The value of a property.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum PropertyValue {
    /// A text.
    Text(String),
    /// A colour.
    Color(Color),
    /// Words for values.
    Mappings(Vec<Mapping>),
}

/// What is done with an answer before it is shown.
#[derive(Clone, Debug, Serialize)]
pub struct Transformation {
    /// `merge` or `organize`.
    pub id: &'static str,
    /// Its settings.
    pub options: TransformationOptions,
}

/// Settings of a transformation.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum TransformationOptions {
    /// Of `merge`.
    Merge {},
    /// Of `organize`.
    Organize(Organize),
}

/// Columns of a table.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Organize {
    /// Left out.
    pub exclude_by_name: BTreeMap<String, bool>,
    /// Places.
    pub index_by_name: BTreeMap<String, u32>,
    /// Names.
    pub rename_by_name: BTreeMap<String, String>,
}

/// Settings of a panel by its type.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Options {
    /// `stat`.
    Stat(StatOptions),
    /// `timeseries`.
    Graph(GraphOptions),
    /// `barchart`.
    Bars(BarsOptions),
    /// `bargauge`.
    Gauge(GaugeOptions),
    /// `state-timeline`.
    Timeline(TimelineOptions),
    /// `table`.
    Table(TableOptions),
}

/// How a series becomes one value.
#[derive(Clone, Debug, Serialize)]
pub struct Reduce {
    /// `lastNotNull`.
    pub calcs: Vec<&'static str>,
    /// All numbers.
    pub fields: &'static str,
    /// Every row on its own.
    pub values: bool,
}

/// The last value.
pub fn last() -> Reduce {
    Reduce { calcs: vec!["lastNotNull"], fields: "", values: false }
}

/// Settings of a stat.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatOptions {
    /// See [`last`].
    pub reduce_options: Reduce,
    /// `auto`.
    pub orientation: &'static str,
    /// `auto`, `value`, `value_and_name`.
    pub text_mode: &'static str,
    /// `value` or `none`.
    pub color_mode: &'static str,
    /// `none`.
    pub graph_mode: &'static str,
    /// `auto`.
    pub justify_mode: &'static str,
    /// Values beside their names.
    pub wide_layout: bool,
    /// Change over the range.
    pub show_percent_change: bool,
    /// `standard`.
    pub percent_change_color_mode: &'static str,
}

/// Settings of a graph.
#[derive(Clone, Debug, Serialize)]
pub struct GraphOptions {
    /// Legend.
    pub legend: Legend,
    /// Tooltip.
    pub tooltip: Tooltip,
}

/// A legend.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Legend {
    /// `list` or `table`.
    pub display_mode: &'static str,
    /// `bottom`.
    pub placement: &'static str,
    /// Shown.
    pub show_legend: bool,
    /// Figures beside names.
    pub calcs: Vec<&'static str>,
}

/// A tooltip.
#[derive(Clone, Debug, Serialize)]
pub struct Tooltip {
    /// `multi`: of all series.
    pub mode: &'static str,
    /// `desc`: the largest first.
    pub sort: &'static str,
}

/// Settings of a bar chart.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BarsOptions {
    /// `auto`.
    pub orientation: &'static str,
    /// Field of the axis.
    pub x_field: &'static str,
    /// `auto`, `always`.
    pub show_value: &'static str,
    /// `none` or `normal`.
    pub stacking: &'static str,
    /// Share of a group's place that it fills.
    pub group_width: f64,
    /// Share of a bar's place that it fills.
    pub bar_width: f64,
    /// Lights up the place under the mouse.
    pub full_highlight: bool,
    /// Degrees.
    pub x_tick_label_rotation: i16,
    /// Characters; 0: all.
    pub x_tick_label_max_length: u16,
    /// Legend.
    pub legend: Legend,
    /// Tooltip.
    pub tooltip: Tooltip,
}

/// Settings of a bar gauge.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GaugeOptions {
    /// See [`last`].
    pub reduce_options: Reduce,
    /// `horizontal`.
    pub orientation: &'static str,
    /// `basic`.
    pub display_mode: &'static str,
    /// `color` or `text`.
    pub value_mode: &'static str,
    /// `auto`, `left`.
    pub name_placement: &'static str,
    /// Draws the empty rest.
    pub show_unfilled: bool,
    /// `auto`.
    pub sizing: &'static str,
    /// Pixels.
    pub min_viz_width: u16,
    /// Pixels.
    pub min_viz_height: u16,
    /// Pixels.
    pub max_viz_height: u16,
    /// Legend.
    pub legend: Legend,
}

/// Settings of a state timeline.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TimelineOptions {
    /// Joins equal values.
    pub merge_values: bool,
    /// `auto`.
    pub show_value: &'static str,
    /// `left`.
    pub align_value: &'static str,
    /// Share of a row that it fills.
    pub row_height: f64,
    /// Legend.
    pub legend: Legend,
    /// Tooltip.
    pub tooltip: Tooltip,
}

/// Settings of a table.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableOptions {
    /// Which answer is shown.
    pub frame_index: u8,
    /// Head line.
    pub show_header: bool,
    /// `sm`.
    pub cell_height: &'static str,
}
