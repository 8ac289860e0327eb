//! A summary as tables, in the order that every form shows them. CSV, XLSX and page are made of these and of nothing
//! else, so that none of them says more or less than another.

use super::summary::{Figure, Hours, Row, Status, Summary, Text};

/// One table.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Its name for programs; of rows with the factor: `rows_so2`.
    pub id: String,
    /// Its title.
    pub title: Text,
    /// Columns.
    pub columns: Vec<Column>,
    /// Lines, each with a cell for each column.
    pub lines: Vec<Vec<Cell>>,
    /// What is said where there are no lines.
    pub nothing: Text,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// What it holds.
    pub name: Text,
    /// Unit of its numbers; empty where they have none or each line names its own.
    pub unit: String,
}

impl Column {
    /// Names and unit in one line.
    pub fn heading(&self) -> String {
        let name = self.name.both();
        if self.unit.is_empty() { name } else { format!("{name} [{}]", self.unit) }
    }
}

/// A cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Nothing is known. Never zero.
    Empty,
    /// A text, perhaps by a person.
    Text(String),
    /// A number as it is written: digits, a sign, a point.
    Number(String),
}

impl Cell {
    /// As it is written.
    pub fn text(&self) -> &str {
        match self {
            Self::Empty => "",
            Self::Text(text) | Self::Number(text) => text,
        }
    }

    /// Decimals of a number.
    pub fn decimals(&self) -> usize {
        match self {
            Self::Number(text) => text.split_once('.').map_or(0, |(_, decimals)| decimals.len()),
            _ => 0,
        }
    }
}

fn text(text: impl Into<String>) -> Cell {
    let text = text.into();
    if text.is_empty() { Cell::Empty } else { Cell::Text(text) }
}

fn maybe(value: Option<&String>) -> Cell {
    value.map_or(Cell::Empty, |value| text(value.clone()))
}

fn figure(value: Option<&Figure>) -> Cell {
    value.map_or(Cell::Empty, |figure| Cell::Number(figure.text()))
}

fn count(value: u32) -> Cell {
    Cell::Number(value.to_string())
}

fn column(zh: &str, en: &str, unit: &str) -> Column {
    Column { name: Text::new(zh, en), unit: unit.to_owned() }
}

/// All tables of a summary.
pub fn sections(summary: &Summary) -> Vec<Section> {
    let mut all = vec![head(summary), not_counted(summary), exceedances(summary)];
    all.extend(summary.head.factors.iter().map(|factor| rows(summary, &factor.id)));
    all.extend([totals(summary), parameters(summary), limits(summary), marks(summary), corrections(summary)]);
    all
}

fn head(summary: &Summary) -> Section {
    let head = &summary.head;
    let named = |one: &super::summary::Named| format!("{} ({})", Text::new(&*one.zh, &*one.en).both(), one.id);
    let kind = match head.kind.as_str() {
        "stack" => Text::new("废气排放口", "stack"),
        "waste_water" => Text::new("废水排放口", "waste-water outlet"),
        other => Text::new(other, other),
    };
    let period = match head.period.as_str() {
        "hour" => Text::new("小时", "hour"),
        "day" => Text::new("日", "day"),
        "month" => Text::new("月", "month"),
        other => Text::new(other, other),
    };
    let lines = [
        ("园区", "park", named(&head.park)),
        ("企业", "enterprise", named(&head.enterprise)),
        ("排放口", "outlet", named(&head.outlet)),
        ("类型", "kind", kind.both()),
        ("统计周期", "period of a row", period.both()),
        ("开始（含）", "from, inclusive", head.from.clone()),
        ("结束（不含）", "to, exclusive", head.to.clone()),
        ("时区", "time zone", head.zone.clone()),
        ("生成时间", "made at", head.made_at.clone()),
        ("软件", "software", head.software.clone()),
        ("配置摘要", "configuration hash", head.configuration.clone()),
        ("格式", "form", summary.schema.clone()),
    ];
    let left_out = head.left_out.iter().map(|what| ("未列出", "left out", what.both()));
    Section {
        id: "head".into(),
        title: Text::new("排放汇总", "Emission summary"),
        columns: vec![column("项目", "item", ""), column("内容", "value", "")],
        lines: lines.into_iter().chain(left_out).map(|(zh, en, value)| vec![text(Text::new(zh, en).both()), text(value)]).collect(),
        nothing: Text::default(),
    }
}

fn not_counted(summary: &Summary) -> Section {
    let line = |one: &super::summary::NotCounted| {
        let reasons: Vec<String> = one.reasons.iter().map(super::summary::Reason::line).collect();
        vec![
            text(&*one.factor),
            text(&*one.start),
            text(&*one.end),
            Cell::Number(one.value.text()),
            Cell::Number(one.limit.to_string()),
            text(&*one.unit),
            text(reasons.join("; ")),
            Cell::Number(one.exact.to_string()),
        ]
    };
    Section {
        id: "above_limit_not_counted".into(),
        title: Text::new("超过限值但未计入的时段及原因", "Above the limit, not counted, and why"),
        columns: vec![
            column("污染物", "factor", ""),
            column("开始", "start", ""),
            column("结束", "end", ""),
            column("数值", "value", ""),
            column("限值", "limit", ""),
            column("单位", "unit", ""),
            column("原因", "reasons", ""),
            column("未修约值", "unrounded", ""),
        ],
        lines: summary.above_limit_not_counted.iter().map(line).collect(),
        nothing: Text::new("无", "none"),
    }
}

fn exceedances(summary: &Summary) -> Section {
    let line = |one: &super::summary::Exceedance| {
        vec![
            text(&*one.event),
            text(&*one.kind),
            maybe(one.factor.as_ref()),
            text(&*one.state),
            text(&*one.start),
            maybe(one.end.as_ref()),
            maybe(one.averaging.as_ref()),
            figure(one.value.as_ref()),
            one.limit.as_ref().map_or(Cell::Empty, |limit| Cell::Number(limit.to_string())),
            text(&*one.unit),
            figure(one.times_over.as_ref()),
            text(&*one.clause),
            text(&*one.changed_at),
            one.exact.as_ref().map_or(Cell::Empty, |exact| Cell::Number(exact.to_string())),
            one.left_out.as_ref().map_or(Cell::Empty, |what| text(what.both())),
        ]
    };
    Section {
        id: "exceedances".into(),
        title: Text::new("超标及异常事件", "Exceedances and other events"),
        columns: vec![
            column("事件", "event", ""),
            column("类型", "kind", ""),
            column("污染物", "factor", ""),
            column("状态", "state", ""),
            column("开始", "start", ""),
            column("结束", "end", ""),
            column("均值周期", "averaging", ""),
            column("数值", "value", ""),
            column("限值", "limit", ""),
            column("单位", "unit", ""),
            column("超标倍数", "times over", ""),
            column("依据", "clause", ""),
            column("最近变更", "changed at", ""),
            column("未修约值", "unrounded", ""),
            column("未列出", "left out", ""),
        ],
        lines: summary.exceedances.iter().map(line).collect(),
        nothing: none_but(&summary.head.left_out),
    }
}

/// That there is nothing, as far as it may be told.
fn none_but(left_out: &[Text]) -> Text {
    let all = |text: fn(&Text) -> &str| left_out.iter().map(text).collect::<Vec<_>>().join("; ");
    match left_out {
        [] => Text::new("无", "none"),
        _ => Text::new(format!("无可列出的事件；{}", all(|text| &text.zh)), format!("none that may be told; {}", all(|text| &text.en))),
    }
}

fn hours(hours: Hours) -> [Cell; 4] {
    [count(hours.valid), count(hours.invalid), count(hours.missing), count(hours.stopped)]
}

fn hour_columns() -> [Column; 4] {
    [
        column("有效小时", "valid hours", "h"),
        column("无效小时", "invalid hours", "h"),
        column("缺失小时", "missing hours", "h"),
        column("停运小时", "stopped hours", "h"),
    ]
}

/// The judgement that a line shows in columns of its own: one that exceeds before others.
fn leading(row: &Row) -> Option<&super::summary::Judged> {
    row.judgements.iter().find(|judged| judged.status == Status::Exceeded).or_else(|| row.judgements.first())
}

/// What one limit says, in words.
fn judgement(judged: &super::summary::Judged) -> String {
    let value = judged.value.as_ref().map_or_else(|| "-".to_owned(), Figure::text);
    let than = if judged.bound == "lower" { ">=" } else { "<=" };
    let looked_at = match judged.applies_to.as_str() {
        "converted" => "折算",
        "as_is" => "实测",
        "mass_rate" => "速率",
        other => other,
    };
    format!("{looked_at} {}: {value}, {than} {} {}: {}", judged.applies_to, judged.limit, judged.unit, judged.status.words().both())
}

fn rows(summary: &Summary, factor: &str) -> Section {
    let found = summary.factor(factor).cloned().unwrap_or_default();
    let (unit, is_gas) = (found.unit.as_str(), summary.head.kind == "stack");
    let mut columns = vec![column("开始", "start", ""), column("结束", "end", "")];
    let average = if is_gas { ("实测均值（标干）", "average, dry, standard state") } else { ("均值", "average") };
    columns.push(column(average.0, average.1, unit));
    if found.is_converted {
        columns.extend([
            column("折算均值（评价用）", "converted average (judged)", unit),
            column("均值折算", "conversion of the average", unit),
        ]);
    }
    columns.extend([
        column("限值", "limit", ""),
        column("限值单位", "unit of the limit", ""),
        column("评价值", "judged value", ""),
        column("评价", "status", ""),
        column("各限值评价", "by each limit", ""),
        column("排放量", "mass", "kg"),
        column("填补排放量", "mass filled in", "kg"),
        column("停运时段排放量", "mass of stopped hours", "kg"),
        column("标记", "marks", ""),
        column("说明", "notes", ""),
    ]);
    columns.extend(hour_columns());
    columns.push(column("有效率", "valid rate", ""));
    if is_gas {
        columns.extend([
            column("含氧量", "O2", "%"),
            column("烟温", "temperature", "°C"),
            column("静压", "static pressure", "Pa"),
            column("湿度", "humidity", "%"),
            column("标干烟气量", "volume, dry, standard state", "m3"),
        ]);
    } else {
        columns.push(column("水量", "volume", "m3"));
    }
    columns.push(column("更正次数", "corrections", ""));
    let line = |row: &Row| {
        let lead = leading(row);
        let notes: Vec<String> = row.notes.iter().map(Text::both).collect();
        let judgements: Vec<String> = row.judgements.iter().map(judgement).collect();
        let mut cells = vec![text(&*row.start), text(&*row.end), figure(row.average.as_ref())];
        if found.is_converted {
            cells.extend([figure(row.converted.as_ref()), figure(row.converted_of_average.as_ref())]);
        }
        cells.extend([
            lead.map_or(Cell::Empty, |lead| Cell::Number(lead.limit.to_string())),
            lead.map_or(Cell::Empty, |lead| text(&*lead.unit)),
            figure(lead.and_then(|lead| lead.value.as_ref())),
            text(row.status.words().both()),
            text(judgements.join("; ")),
            figure(row.mass_kg.as_ref()),
            figure(row.mass_filled_kg.as_ref()),
            figure(row.mass_partial_kg.as_ref()),
            text(row.marks.join(" ")),
            text(notes.join("; ")),
        ]);
        cells.extend(hours(row.hours));
        cells.push(figure(row.valid_rate.as_ref()));
        if is_gas {
            cells.extend([&row.oxygen, &row.temperature, &row.pressure, &row.humidity].map(|one| figure(one.as_ref())));
        }
        cells.extend([figure(row.volume.as_ref()), count(row.corrections)]);
        cells
    };
    let name = found.name.both();
    let title = if name.is_empty() { factor.to_owned() } else { name };
    Section {
        id: format!("rows_{factor}"),
        title: Text::new(format!("{title} 数据"), "figures"),
        columns,
        lines: summary.rows.iter().filter(|row| row.factor == factor).map(line).collect(),
        nothing: Text::new("无数据", "no rows"),
    }
}

fn totals(summary: &Summary) -> Section {
    let mut columns = vec![column("污染物", "factor", "")];
    columns.extend(hour_columns());
    columns.extend([
        column("有效率", "valid rate", ""),
        column("传输率", "transmission rate", ""),
        column("最高评价值", "highest judged value", ""),
        column("单位", "unit", ""),
        column("达标行数", "rows compliant", ""),
        column("超标行数", "rows exceeded", ""),
        column("未评价行数", "rows not judged", ""),
        column("无有效值行数", "rows not valid", ""),
        column("排放量", "mass", "t"),
        column("填补排放量", "mass filled in", "t"),
        column("停运时段排放量", "mass of stopped hours", "t"),
        column("填补比例", "share filled in", ""),
    ]);
    let line = |total: &super::summary::Total| {
        let mut cells = vec![text(&*total.factor)];
        cells.extend(hours(total.hours));
        cells.extend([
            figure(total.valid_rate.as_ref()),
            figure(total.transmission_rate.as_ref()),
            figure(total.highest.as_ref()),
            text(summary.factor(&total.factor).map(|factor| factor.unit.clone()).unwrap_or_default()),
            count(total.compliant),
            count(total.exceeded),
            count(total.not_judged),
            count(total.not_valid),
            figure(total.mass_t.as_ref()),
            figure(total.mass_filled_t.as_ref()),
            figure(total.mass_partial_t.as_ref()),
            figure(total.filled_share.as_ref()),
        ]);
        cells
    };
    Section {
        id: "totals".into(),
        title: Text::new("合计", "Totals"),
        columns,
        lines: summary.totals.iter().map(line).collect(),
        nothing: Text::new("无", "none"),
    }
}

fn parameters(summary: &Summary) -> Section {
    let line = |one: &super::summary::Parameter| {
        let value = if is_number(&one.value) { Cell::Number(one.value.clone()) } else { text(&*one.value) };
        vec![maybe(one.factor.as_ref()), text(one.name.both()), value, text(&*one.unit), text(&*one.source), text(&*one.id)]
    };
    Section {
        id: "parameters".into(),
        title: Text::new("采用的参数", "Parameters used"),
        columns: vec![
            column("污染物", "factor", ""),
            column("参数", "parameter", ""),
            column("数值", "value", ""),
            column("单位", "unit", ""),
            column("依据", "source", ""),
            column("标识", "id", ""),
        ],
        lines: summary.head.parameters.iter().map(line).collect(),
        nothing: Text::new("无", "none"),
    }
}

fn limits(summary: &Summary) -> Section {
    let line = |one: &super::summary::LimitLine| {
        vec![
            text(&*one.factor),
            Cell::Number(one.value.clone()),
            text(&*one.unit),
            text(&*one.averaging),
            text(&*one.applies_to),
            text(&*one.bound),
            text(&*one.clause),
            text(&*one.from),
            maybe(one.to.as_ref()),
            text(&*one.author),
            text(&*one.set_at),
            maybe(one.document.as_ref()),
            maybe(one.ended_by.as_ref()),
            text(&*one.id),
        ]
    };
    Section {
        id: "limits".into(),
        title: Text::new("限值", "Limits"),
        columns: vec![
            column("污染物", "factor", ""),
            column("限值", "limit", ""),
            column("单位", "unit", ""),
            column("均值周期", "averaging", ""),
            column("评价对象", "looks at", ""),
            column("上下限", "bound", ""),
            column("依据", "clause", ""),
            column("生效", "from", ""),
            column("失效", "to", ""),
            column("录入人", "author", ""),
            column("录入时间", "entered at", ""),
            column("文件", "document", ""),
            column("终止人", "ended by", ""),
            column("标识", "id", ""),
        ],
        lines: summary.limits.iter().map(line).collect(),
        nothing: Text::new("未录入限值：数据未作评价", "no limit is entered: nothing is judged"),
    }
}

fn marks(summary: &Summary) -> Section {
    let line = |one: &super::summary::MarkLine| {
        vec![
            maybe(one.factor.as_ref()),
            text(&*one.letter),
            text(one.words.both()),
            text(&*one.condition),
            text(&*one.from),
            maybe(one.to.as_ref()),
            text(&*one.author),
            text(&*one.set_at),
            maybe(one.document.as_ref()),
            maybe(one.withdrawn_by.as_ref()),
            maybe(one.withdrawn_at.as_ref()),
            text(&*one.id),
        ]
    };
    Section {
        id: "marks".into(),
        title: Text::new("数据标记", "Marks"),
        columns: vec![
            column("污染物", "factor", ""),
            column("标记", "letter", ""),
            column("含义", "meaning", ""),
            column("工况", "condition", ""),
            column("开始", "from", ""),
            column("结束", "to", ""),
            column("标记人", "author", ""),
            column("标记时间", "set at", ""),
            column("文件", "document", ""),
            column("撤销人", "withdrawn by", ""),
            column("撤销时间", "withdrawn at", ""),
            column("标识", "id", ""),
        ],
        lines: summary.marks.iter().map(line).collect(),
        nothing: Text::new("无", "none"),
    }
}

fn corrections(summary: &Summary) -> Section {
    let value = |value: &Option<String>| match value {
        Some(value) if is_number(value) => Cell::Number(value.clone()),
        other => maybe(other.as_ref()),
    };
    let line = |one: &super::summary::Correction| {
        vec![
            maybe(one.factor.as_ref()),
            text(&*one.period),
            text(&*one.start),
            text(&*one.end),
            text(&*one.figure),
            value(&one.old),
            value(&one.new),
            text(&*one.cause),
            text(&*one.changed_at),
        ]
    };
    Section {
        id: "corrections".into(),
        title: Text::new("更正", "Corrections"),
        columns: vec![
            column("污染物", "factor", ""),
            column("周期", "period", ""),
            column("开始", "start", ""),
            column("结束", "end", ""),
            column("数据项", "figure", ""),
            column("原值", "old", ""),
            column("新值", "new", ""),
            column("原因", "cause", ""),
            column("发现时间", "changed at", ""),
        ],
        lines: summary.corrections.iter().map(line).collect(),
        nothing: Text::new("无", "none"),
    }
}

/// Whether a text is a plain decimal number, of which spreadsheets make no formula.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits(whole) && all_digits(part) && text.len() < 40
}
