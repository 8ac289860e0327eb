//! `parkgate decode`: what registers and frames say, without a device or a configuration.
//!
//! The answers are made in `parkgate_collector::protocol::modbus::explain`; here they are printed. With `--json` and
//! nothing else, questions come as JSON lines on standard input, and each line gets one line for an answer, whatever it is.

use std::io::{BufRead, Read as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Subcommand, ValueEnum};
use parkgate_collector::protocol::modbus::RegisterName;
use parkgate_collector::protocol::modbus::explain::frames::{self, Outcome, Transport};
use parkgate_collector::protocol::modbus::explain::registers::{Answer, Quality, Question, exact_of, scale_register_of};
use parkgate_collector::protocol::modbus::explain::{self, LINE_LENGTH_MAX, Line};
use serde_json::{Value, json};

use crate::app::Exit;

/// Arguments of `decode`.
#[derive(Debug, Args)]
pub struct DecodeArguments {
    /// What to decode.
    #[command(subcommand)]
    pub command: DecodeCommand,
}

/// What `decode` can do.
#[derive(Debug, Subcommand)]
pub enum DecodeCommand {
    /// Print the value of registers, in every plausible byte order unless one is given.
    Registers(RegistersArguments),
    /// Print what the answer to a request holds, or what is wrong with it.
    Frame(FrameArguments),
}

/// Arguments of `decode registers`.
#[derive(Debug, Args)]
pub struct RegistersArguments {
    /// Type: u16 i16 u32 i32 u64 i64 f32 f64 bcd16 bcd32 bcd48 bcd64 sm16 sm32 mod10_2 mod10_3 mod10_4 mod10_3s string.
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "json")]
    pub register_type: Option<String>,
    /// How the bytes arrive, A the most significant: CDAB, any other permutation, high_first or low_first.
    #[arg(long)]
    pub order: Option<String>,
    /// Exact factor.
    #[arg(long, allow_hyphen_values = true)]
    pub scale: Option<String>,
    /// Exact summand after the factor.
    #[arg(long, allow_hyphen_values = true)]
    pub offset: Option<String>,
    /// Only this bit, 0 the least significant.
    #[arg(long)]
    pub bit: Option<u8>,
    /// Pattern that means "no value", in hex, after reordering; may be given again.
    #[arg(long, value_name = "HEX")]
    pub nan: Vec<String>,
    /// What the scale register holds, the power of ten: -2, or FFFE as its four hex digits.
    #[arg(long, value_name = "POWER", allow_hyphen_values = true)]
    pub scale_register: Option<String>,
    /// Print one JSON object; without words, answer JSON lines on standard input:
    /// {"id":1,"words":["580E","436B"],"type":"f32","order":"CDAB","scale":"0.1","nan":["7FC00000"]}
    #[arg(long)]
    pub json: bool,
    /// The registers in order of address, as hex digits: 58 0E 43 6B, 580E 436B.
    #[arg(value_name = "HEX", required_unless_present = "json")]
    pub words: Vec<String>,
}

/// Arguments of `decode frame`.
#[derive(Debug, Args)]
pub struct FrameArguments {
    /// How the frames are wrapped.
    #[arg(required_unless_present = "json")]
    pub transport: Option<TransportArgument>,
    /// The request that was sent: a read of coils, inputs or registers.
    #[arg(long, value_name = "HEX", num_args = 1.., required_unless_present = "json")]
    pub request: Vec<String>,
    /// All that came after it; nothing where nothing came.
    #[arg(long, value_name = "HEX", num_args = 0..)]
    pub response: Vec<String>,
    /// Print one JSON object; without a request, answer JSON lines on standard input:
    /// {"id":1,"transport":"rtu","request":"01040000000271CB","response":"010404436680006FDF"}
    #[arg(long)]
    pub json: bool,
}

/// How frames are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TransportArgument {
    /// With the header of Modbus TCP.
    ModbusTcp,
    /// With a CRC, as on a serial line.
    ModbusRtu,
}

impl From<TransportArgument> for Transport {
    fn from(transport: TransportArgument) -> Self {
        match transport {
            TransportArgument::ModbusTcp => Self::Tcp,
            TransportArgument::ModbusRtu => Self::Rtu,
        }
    }
}

/// `parkgate decode`: exit 1 when something could not be decoded.
pub fn decode(arguments: &DecodeArguments) -> Result<ExitCode> {
    match &arguments.command {
        DecodeCommand::Registers(arguments) if arguments.words.is_empty() => {
            if arguments.register_type.is_some() || arguments.order.is_some() {
                bail!("type and order are for words on the command line; a JSON line has its own");
            }
            answer_lines(explain::registers_line)
        }
        DecodeCommand::Registers(arguments) => registers(arguments),
        DecodeCommand::Frame(arguments) if arguments.request.is_empty() => {
            let transport = arguments.transport.map(Transport::from);
            answer_lines(|line| explain::frame_line(line, transport))
        }
        DecodeCommand::Frame(arguments) => frame(arguments),
    }
}

fn code(failed: bool) -> ExitCode {
    if failed { ExitCode::from(Exit::Problems as u8) } else { ExitCode::SUCCESS }
}

/// Answers each line of standard input as soon as it is there.
fn answer_lines(answer: impl Fn(&str) -> Line) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let mut failed = false;
    let mut input = std::io::stdin().lock();
    let mut line = Vec::new();
    while next_line(&mut input, &mut line).context("standard input cannot be read")? {
        let answer = answer(String::from_utf8_lossy(&line).trim_end());
        failed |= answer.failed;
        match writeln!(out, "{}", answer.json).and_then(|()| out.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
            written => written?,
        }
    }
    Ok(code(failed))
}

/// Reads a line into `line`, of a long one only as much as shows that it is too long. `false` at the end.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    let limit = u64::try_from(LINE_LENGTH_MAX).unwrap_or(u64::MAX).saturating_add(2);
    let read = input.take(limit).read_until(b'\n', line)?;
    if read > LINE_LENGTH_MAX && line.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
    }
    Ok(read > 0)
}

fn registers(arguments: &RegistersArguments) -> Result<ExitCode> {
    let question = question(arguments);
    if arguments.json {
        let failed = question.is_err();
        super::say(&match question {
            Ok(question) => serde_json::to_string(&question.answer())?,
            Err(error) => json!({ "error": error }).to_string(),
        });
        return Ok(code(failed));
    }
    let question = question.map_err(|error| anyhow!(error))?;
    if arguments.order.is_some() {
        let answer = question.answer();
        super::say(&shown(&question, &answer));
        if let Some(exact) = answer.value.filter(|value| *value != question.shown(value)) {
            super::complain_text(&format!("a 32-bit float holds 6 digits for sure; the shortest that reads back the same is {exact}"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let answers = question.in_every_order();
    let width = answers.iter().map(|(order, _)| order.len()).max().unwrap_or(0);
    for (order, question) in answers {
        super::say(&format!("{order:width$}  {}", shown(&question, &question.answer())));
    }
    Ok(ExitCode::SUCCESS)
}

fn question(arguments: &RegistersArguments) -> Result<Question, String> {
    let register_type = arguments.register_type.as_deref().ok_or("no --type, such as f32")?;
    let bytes = explain::hex(&arguments.words.concat())?;
    let exact = |text: &Option<String>| text.as_deref().map(exact_of).transpose();
    let mut question =
        Question::new(register_type, bytes, arguments.order.as_deref())?.with_scale(exact(&arguments.scale)?, exact(&arguments.offset)?)?;
    if !arguments.nan.is_empty() {
        let patterns: Vec<Value> = arguments.nan.iter().map(|pattern| Value::from(pattern.as_str())).collect();
        question = question.with_not_available(&patterns)?;
    }
    if let Some(register) = &arguments.scale_register {
        question = question.with_scale_register(scale_register_of(&Value::from(register.as_str()))?)?;
    }
    match arguments.bit {
        Some(bit) => question.with_bit(bit),
        None => Ok(question),
    }
}

fn shown(question: &Question, answer: &Answer) -> String {
    let reason = answer.reason.as_deref().unwrap_or_default();
    match (&answer.value, answer.quality) {
        (Some(value), _) => question.shown(value),
        (None, Quality::NotAvailable) => format!("not available: {reason}"),
        (None, _) => format!("invalid: {reason}"),
    }
}

fn frame(arguments: &FrameArguments) -> Result<ExitCode> {
    let outcome = outcome(arguments);
    if arguments.json {
        let answer = outcome.as_ref().map_err(|error| error.as_str()).and_then(|(_, outcome)| outcome.answer());
        let failed = answer.is_err();
        super::say(&match answer {
            Ok(answer) => serde_json::to_string(&answer)?,
            Err(error) => json!({ "error": error }).to_string(),
        });
        return Ok(code(failed));
    }
    let (request, outcome) = outcome.map_err(|error| anyhow!(error))?;
    super::say(&format!(
        "{} of unit {}: function {}, address {}, {} of them",
        request.name(),
        request.unit_id,
        request.function.code(),
        request.address,
        request.quantity
    ));
    let named = |offset: u16| RegisterName { function: request.function, address: request.address.saturating_add(offset), quantity: 1 };
    match &outcome {
        Outcome::Words(words) => {
            for (offset, word) in (0..).zip(words) {
                super::say(&format!("{}  {word:04X}  {word}", named(offset)));
            }
        }
        Outcome::Bits(bits) => {
            for (offset, bit) in (0..).zip(bits) {
                super::say(&format!("{}  {}", named(offset), u8::from(*bit)));
            }
        }
        Outcome::Exception(exception) => super::say(&exception.to_string()),
        Outcome::Fault(fault, why) => super::say(&format!("{}: {why}", fault.word())),
    }
    Ok(code(matches!(outcome, Outcome::Fault(..))))
}

fn outcome(arguments: &FrameArguments) -> Result<(parkgate_collector::protocol::modbus::Request, Outcome), String> {
    let transport = arguments.transport.map(Transport::from).ok_or("no transport: modbus-tcp or modbus-rtu")?;
    let (request, transaction_id) = frames::request_of(transport, &explain::hex(&arguments.request.concat())?)?;
    let received = explain::hex(&arguments.response.concat()).map_err(|error| format!("response: {error}"))?;
    Ok((request, frames::judge(transport, &request, transaction_id, &received)))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Only {
        #[command(flatten)]
        decode: DecodeArguments,
    }

    fn parsed(line: &str) -> DecodeCommand {
        Only::try_parse_from(std::iter::once("decode").chain(line.split_whitespace()))
            .unwrap_or_else(|error| panic!("{error}"))
            .decode
            .command
    }

    #[test]
    fn a_command_line_becomes_a_question() {
        let DecodeCommand::Registers(arguments) = parsed("registers --type f32 --order CDAB 58 0E 43 6B") else { panic!("frame") };
        let asked = question(&arguments).unwrap();
        assert_eq!(shown(&asked, &asked.answer()), "235.344");
        let DecodeCommand::Registers(arguments) =
            parsed("registers --type i16 --scale 0.1 --offset -40 --scale-register -1 --nan 8000 00EB")
        else {
            panic!("frame")
        };
        let asked = question(&arguments).unwrap();
        assert_eq!(shown(&asked, &asked.answer()), "-37.65");
        let DecodeCommand::Frame(arguments) = parsed("frame modbus-rtu --request 11 03 00 6B 00 03 76 87 --response 11 83 02 C1 34") else {
            panic!("registers")
        };
        assert!(matches!(outcome(&arguments), Ok((_, Outcome::Exception(exception))) if exception.0 == 2));
        assert!(Only::try_parse_from(["decode", "registers", "580E"]).is_err(), "no type");
        assert!(Only::try_parse_from(["decode", "frame", "modbus-tcp"]).is_err(), "no request");
    }

    #[test]
    fn a_long_line_does_not_fill_the_memory() {
        let text = [vec![b'a'; LINE_LENGTH_MAX * 3], b"\n{}\n\nlast".to_vec()].concat();
        let (mut input, mut line, mut lengths) = (text.as_slice(), Vec::new(), Vec::new());
        while next_line(&mut input, &mut line).unwrap() {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [LINE_LENGTH_MAX + 2, 3, 1, 4]);
    }
}
