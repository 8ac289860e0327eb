//! Words of one value become an exact decimal, or why there is none.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::decimal::Exact;
use crate::protocol::modbus::value::{NoValue, Raw, read, scale_power};
use crate::protocol::modbus::{ByteOrder, RegisterType, TextLayout};

/// Most registers of a text: those of one read.
const REGISTERS_MAX: usize = 125;

/// Decimal digits that every number of so many keeps in a 32-bit float (ISO/IEC 9899:2018, 5.2.4.2.2, FLT_DIG).
const F32_DIGITS: usize = 6;

/// The words of one value and all that is known of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    bytes: Vec<u8>,
    register_type: RegisterType,
    order: ByteOrder,
    bit: Option<u8>,
    not_available: Vec<u64>,
    power: Option<u16>,
    scale: Option<Exact>,
    offset: Option<Exact>,
}

/// How far a value can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// There is a value.
    Good,
    /// The device says that it has none.
    NotAvailable,
    /// What stands there is no value of this type.
    Invalid,
}

/// What the words say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// An exact decimal, or a text; `None` unless it is good.
    pub value: Option<String>,
    /// How far it can be trusted.
    pub quality: Quality,
    /// Why there is no value.
    pub reason: Option<String>,
}

impl Question {
    /// Words as bytes in order of arrival, and the name of their type: `f32`, `bcd48`, `string`, ... The order by its
    /// letters, or by registers as `high_first` or `low_first`; the type's usual one where there is none.
    pub fn new(type_name: &str, bytes: Vec<u8>, order: Option<&str>) -> Result<Self, String> {
        let (words, odd) = (bytes.len() / 2, bytes.len() % 2);
        if odd != 0 {
            return Err(format!("{} bytes: a register has two", bytes.len()));
        }
        let (register_type, order) = if type_name == "string" {
            (text_type(words, order)?, ByteOrder::AB)
        } else {
            let known = RegisterType::NAMES.iter().find(|(name, _)| *name == type_name);
            let register_type = known.map(|(_, known)| *known).ok_or_else(|| unknown_type(type_name))?;
            let usual = register_type.usual_order();
            (register_type, order.map_or(Ok(usual), |order| ByteOrder::parse(order, usual.length))?)
        };
        let wanted = usize::from(register_type.registers());
        if words != wanted {
            return Err(format!("{type_name} takes {wanted} registers, not {words}"));
        }
        Ok(Self { bytes, register_type, order, bit: None, not_available: Vec::new(), power: None, scale: None, offset: None })
    }

    /// Only this bit, 0 the least significant.
    pub fn with_bit(mut self, bit: u8) -> Result<Self, String> {
        use RegisterType::{I16, I32, I64, U16, U32, U64};
        let bits = self.register_type.registers().saturating_mul(16);
        if !matches!(self.register_type, U16 | I16 | U32 | I32 | U64 | I64) {
            return Err("`bit` is for whole numbers in two's complement".to_owned());
        }
        if u16::from(bit) >= bits {
            return Err(format!("bit {bit}: there are 0 to {}", bits.saturating_sub(1)));
        }
        self.bit = Some(bit);
        Ok(self)
    }

    /// Times `scale`, then plus `offset`.
    pub fn with_scale(mut self, scale: Option<Exact>, offset: Option<Exact>) -> Result<Self, String> {
        if scale.is_some() || offset.is_some() {
            self.is_number("`scale` and `offset` are")?;
        }
        (self.scale, self.offset) = (scale, offset);
        Ok(self)
    }

    /// Times ten to the power that a scale register holds: its 16 bits.
    pub fn with_scale_register(mut self, register: u16) -> Result<Self, String> {
        self.is_number("`scale_register` is")?;
        self.power = Some(register);
        Ok(self)
    }

    /// Patterns that mean "no value", each the whole value after reordering: hex digits, or as words the highest first.
    /// Where each stands in words of four digits alone, as many as the value has make one pattern.
    pub fn with_not_available(mut self, patterns: &[Value]) -> Result<Self, String> {
        self.is_number("`nan` is")?;
        let words = usize::from(self.register_type.registers());
        let is_word = |pattern: &Value| pattern.as_str().is_some_and(|text| digits_of(text).len() == 4);
        let in_words = words > 1 && patterns.len().is_multiple_of(words) && patterns.iter().all(is_word);
        self.not_available = if in_words {
            patterns.chunks(words.max(1)).map(pattern_of_words).collect::<Result<_, _>>()?
        } else {
            patterns.iter().map(|pattern| pattern_of(pattern, words)).collect::<Result<_, _>>()?
        };
        Ok(self)
    }

    fn is_number(&self, what: &str) -> Result<(), String> {
        match self.register_type {
            RegisterType::Text { .. } => Err(format!("{what} for numbers, not for a text")),
            _ => Ok(()),
        }
    }

    /// What the words say.
    pub fn answer(&self) -> Answer {
        match self.value() {
            Ok(value) => Answer { value: Some(value), quality: Quality::Good, reason: None },
            Err(why) => {
                let quality = match why {
                    NoValue::Marker | NoValue::Filler | NoValue::Nan | NoValue::NoScale => Quality::NotAvailable,
                    _ => Quality::Invalid,
                };
                Answer { value: None, quality, reason: Some(why.to_string()) }
            }
        }
    }

    fn value(&self) -> Result<String, NoValue> {
        let raw = read(self.register_type, self.order, &self.not_available, &self.bytes)?;
        let mut number = match (self.bit, raw) {
            (_, Raw::Text(text)) => return Ok(text),
            (Some(bit), _) => {
                let bits = self.order.bits(&self.bytes).ok_or(NoValue::Unfit)?;
                Exact::whole(i128::from(bits.checked_shr(u32::from(bit)).unwrap_or(0) & 1))
            }
            (None, Raw::Whole(value)) => Exact::whole(value),
            (None, Raw::F32(value)) => Exact::of_f32(value),
            (None, Raw::F64(value)) => Exact::of_f64(value),
        };
        if let Some(register) = self.power {
            number = number.shifted(scale_power(register)?);
        }
        if let Some(scale) = &self.scale {
            number = number.times(scale);
        }
        if let Some(offset) = &self.offset {
            number = number.plus(offset);
        }
        Ok(number.to_string())
    }

    /// A value as a person wants to see it: of a 32-bit float no digits beyond those that it surely holds.
    pub fn shown(&self, value: &str) -> String {
        match Exact::parse(value) {
            Some(number) if self.register_type == RegisterType::F32 => number.rounded(F32_DIGITS).short(),
            Some(number) if !matches!(self.register_type, RegisterType::Text { .. }) => number.short(),
            _ => value.to_owned(),
        }
    }

    /// The same words in each of the orders that devices of the field have, by the names of the orders.
    pub fn in_every_order(&self) -> Vec<(String, Self)> {
        if let RegisterType::Text { registers, .. } = self.register_type {
            let with = |layout| Self { register_type: RegisterType::Text { registers, layout }, ..self.clone() };
            return TextLayout::NAMES.iter().map(|(name, layout)| ((*name).to_owned(), with(*layout))).collect();
        }
        let orders = ByteOrder::usual(self.order.length).into_iter();
        orders.map(|order| (order.letters(), Self { order, ..self.clone() })).collect()
    }
}

fn text_type(words: usize, order: Option<&str>) -> Result<RegisterType, String> {
    let is_as_sent = |order: &str| [4, words.saturating_mul(2)].contains(&order.len()) && order.bytes().eq((b'A'..=b'Z').take(order.len()));
    let layout = match order {
        Some(order) if !is_as_sent(order) => TextLayout::of_name(order),
        _ => Some(TextLayout::HighFirst),
    };
    let layout = layout.ok_or_else(|| format!("`{}` is no order for a text: ABCD, AB, BA, upper, lower", order.unwrap_or_default()))?;
    match u16::try_from(words) {
        Ok(registers @ 1..) if words <= REGISTERS_MAX => Ok(RegisterType::Text { registers, layout }),
        _ => Err(format!("a text takes 1 to {REGISTERS_MAX} registers, not {words}")),
    }
}

fn unknown_type(name: &str) -> String {
    let known: Vec<&str> = RegisterType::NAMES.iter().map(|(name, _)| *name).collect();
    format!("`{name}` is no type; there are {}, string", known.join(", "))
}

/// The hex digits of a text, without `0x`.
fn digits_of(text: &str) -> &str {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text)
}

fn bits_of(text: &str) -> Option<u64> {
    let digits = digits_of(text);
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// A word: four hex digits, or a number from 0 to 65535. One with fewer digits may have lost any of them.
fn word_of(word: &Value) -> Result<u16, String> {
    let bits = word.as_str().map_or_else(|| word.as_u64(), |text| bits_of(text).filter(|_| digits_of(text).len() == 4));
    bits.and_then(|bits| u16::try_from(bits).ok()).ok_or_else(|| format!("{word} is no register: four hex digits such as \"580E\""))
}

fn pattern_of_words(words: &[Value]) -> Result<u64, String> {
    words.iter().try_fold(0u64, |bits, word| Ok(bits << 16 | u64::from(word_of(word)?)))
}

/// A pattern for a value of so many words.
fn pattern_of(pattern: &Value, words: usize) -> Result<u64, String> {
    let width = u32::try_from(words.saturating_mul(16)).unwrap_or(64);
    let mask = u64::MAX.checked_shr(64u32.saturating_sub(width)).unwrap_or(0);
    let wrong = || format!("{pattern} is no pattern of {words} registers in `nan`");
    match pattern {
        Value::Array(list) if list.len() == words => pattern_of_words(list),
        Value::String(text) => bits_of(text).filter(|bits| *bits <= mask).ok_or_else(wrong),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(bits), _) if bits <= mask => Ok(bits),
            // The two's complement of a negative one, if its sign bit is the highest.
            (None, Some(value)) if !value.cast_unsigned() & !mask == 0 && value.cast_unsigned() & mask > mask >> 1 => {
                Ok(value.cast_unsigned() & mask)
            }
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

/// The 16 bits of a scale register: four hex digits, or a number.
pub fn scale_register_of(register: &Value) -> Result<u16, String> {
    let wrong = || format!("{register} is no scale register: four hex digits such as \"FFFE\", or a number such as -2");
    let number = match register {
        Value::String(text) if digits_of(text).len() == 4 || digits_of(text) != text.as_str() => return word_of(register),
        Value::String(text) => text.parse().ok(),
        _ => register.as_i64(),
    };
    let number = number.ok_or_else(wrong)?;
    u16::try_from(number).or_else(|_| i16::try_from(number).map(i16::cast_unsigned)).map_err(|_| wrong())
}

/// A decimal of a command line: `0.01`.
pub fn exact_of(text: &str) -> Result<Exact, String> {
    Exact::parse(text).ok_or_else(|| format!("`{text}` is no decimal number such as 0.01"))
}

fn exact_of_json(number: Option<&RawValue>) -> Result<Option<Exact>, String> {
    let Some(text) = number.map(RawValue::get).filter(|text| *text != "null") else { return Ok(None) };
    let text = if text.starts_with('"') { serde_json::from_str(text).map_err(|error| error.to_string())? } else { text.to_owned() };
    exact_of(&text).map(Some)
}

/// A question as a JSON object has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked<'a> {
    #[serde(default, rename = "id")]
    _id: IgnoredAny,
    words: Vec<Value>,
    r#type: String,
    order: Option<String>,
    #[serde(borrow, default)]
    scale: Option<&'a RawValue>,
    #[serde(borrow, default)]
    offset: Option<&'a RawValue>,
    bit: Option<u8>,
    nan: Option<Vec<Value>>,
    scale_register: Option<Value>,
}

/// The answer to one JSON object.
pub(super) fn of_json(line: &str) -> Result<Answer, String> {
    let asked: Asked<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let words = asked.words.iter().map(word_of).collect::<Result<Vec<u16>, _>>()?;
    let bytes = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    let mut question = Question::new(&asked.r#type, bytes, asked.order.as_deref())?
        .with_scale(exact_of_json(asked.scale)?, exact_of_json(asked.offset)?)?;
    if let Some(patterns) = asked.nan.as_deref().filter(|patterns| !patterns.is_empty()) {
        question = question.with_not_available(patterns)?;
    }
    if let Some(register) = &asked.scale_register {
        question = question.with_scale_register(scale_register_of(register)?)?;
    }
    if let Some(bit) = asked.bit {
        question = question.with_bit(bit)?;
    }
    Ok(question.answer())
}
