//! What letters, reasons and classes are called, in both languages.

use parkgate_rules::emission::hour::Reason;
use parkgate_rules::emission::limit::NotCounted;
use parkgate_rules::emission::{Letter, mass::FillRule};

use super::summary::Text;

/// What a letter means (HJ 212-2017 table 8).
pub fn letter(letter: Letter) -> Text {
    let (zh, en) = match letter {
        Letter::N => ("正常", "normal"),
        Letter::F => ("停运", "stopped"),
        Letter::M => ("维护", "maintenance"),
        Letter::S => ("手工输入", "set by hand"),
        Letter::D => ("故障", "fault"),
        Letter::C => ("校准", "calibration"),
        Letter::T => ("超量程", "over the upper range"),
        Letter::B => ("通讯中断", "link to the meter lost"),
    };
    Text::new(zh, en)
}

/// Why minutes with readings gave no figure: for programs, and in words.
pub fn reason(reason: Reason) -> (&'static str, Text) {
    let (id, zh, en) = match reason {
        Reason::TooFewReadings => ("too_few_readings", "读数不足", "too few readings"),
        Reason::NoO2 => ("no_o2", "无含氧量", "no O2"),
        Reason::O2NearAir => ("o2_near_air", "含氧量接近空气，无法折算", "O2 near that of air, conversion undefined"),
        Reason::NoHumidity => ("no_humidity", "无湿度", "no humidity"),
        Reason::NoTemperature => ("no_temperature", "无烟温", "no temperature"),
        Reason::NoPressure => ("no_pressure", "无压力", "no pressure"),
        Reason::NoMolarMass => ("no_molar_mass", "缺少摩尔质量", "no molar mass"),
        Reason::NoFlow => ("missing_flow", "无流量", "no flow"),
    };
    (id, Text::new(zh, en))
}

/// Why an average does not count: for programs, and in words.
pub fn not_counted(why: NotCounted) -> (&'static str, Text) {
    let (id, zh, en) = match why {
        NotCounted::Invalid => ("invalid", "有效数据不足", "too little of it is valid"),
        NotCounted::Missing => ("missing", "数据缺失", "values are missing"),
        NotCounted::Stopped => ("stopped", "停运", "the source stood still"),
        NotCounted::Open => ("open", "周期未结束", "the period is not over"),
        NotCounted::NoFigure => {
            ("no_figure", "评价所需数值缺失或不足", "the figure that the limit looks at is not there, or too little of it")
        }
    };
    (id, Text::new(zh, en))
}

/// By which line of the table mass was filled in (HJ 75-2017, HJ/T 356-2007).
pub fn fill(rule: FillRule) -> Text {
    let (zh, en) = match rule {
        FillRule::Last180 => ("填补：前180个有效小时最大值", "filled: largest of the last 180 valid hours"),
        FillRule::Last720 => ("填补：前720个有效小时最大值", "filled: largest of the last 720 valid hours"),
        FillRule::Last2160 => ("填补：前2160个有效小时最大值", "filled: largest of the last 2160 valid hours"),
        FillRule::AsManyBefore => {
            ("填补：缺失前等长有效小时均值（HJ/T 356-2007）", "filled: mean of as many valid hours before the gap (HJ/T 356-2007)")
        }
        FillRule::NoRule => ("有效率低于75%，无填补规则", "valid rate below 75 %, no rule to fill"),
    };
    Text::new(zh, en)
}

/// Power that whoever asks may not see.
pub fn without_power() -> Text {
    Text::new("治理设施事件不含功率数值（超出本令牌可见范围）", "events of abatement are without their power: this token may not see it")
}

/// Events of abatement that whoever asks may not see.
pub fn abatement_in_part() -> Text {
    Text::new("治理设施事件只列出本令牌可见其功率的部分", "of the events of abatement only those are here whose power this token may see")
}

/// A text with a number behind it: `12 min`.
pub fn with(text: Text, more: &str) -> Text {
    Text::new(format!("{} {more}", text.zh), format!("{} {more}", text.en))
}
