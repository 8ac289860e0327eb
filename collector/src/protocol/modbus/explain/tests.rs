use proptest::prelude::*;

use super::frames::Transport;
use super::registers::Question;
use super::*;

/// What is good, by words, type and order, and what else is known: the value.
fn good(question: &str, value: &str) {
    let line = registers_line(&format!("{{\"id\":7,{question}}}"));
    assert_eq!(line.json, format!("{{\"id\":7,\"value\":\"{value}\",\"quality\":\"good\",\"reason\":null}}"), "{question}");
    assert!(!line.failed);
}

/// What is not: quality and reason.
fn not_good(question: &str, quality: &str, reason: &str) {
    let line = registers_line(&format!("{{\"id\":\"a\",{question}}}"));
    assert_eq!(line.json, format!("{{\"id\":\"a\",\"value\":null,\"quality\":\"{quality}\",\"reason\":\"{reason}\"}}"), "{question}");
    assert!(!line.failed);
}

#[test]
fn every_type_in_its_orders() {
    for (words, type_and_order, value) in [
        ("\"FFFF\"", "\"type\":\"u16\"", "65535"),
        ("\"0102\"", "\"type\":\"u16\",\"order\":\"AB\"", "258"),
        ("\"0102\"", "\"type\":\"u16\",\"order\":\"BA\"", "513"),
        ("\"8000\"", "\"type\":\"i16\",\"order\":\"AB\"", "-32768"),
        ("\"FEFF\"", "\"type\":\"i16\",\"order\":\"BA\"", "-2"),
        ("\"FFFF\",\"FFFF\"", "\"type\":\"u32\",\"order\":\"ABCD\"", "4294967295"),
        ("\"0304\",\"0102\"", "\"type\":\"u32\",\"order\":\"CDAB\"", "16909060"),
        ("\"0201\",\"0403\"", "\"type\":\"u32\",\"order\":\"BADC\"", "16909060"),
        ("\"0403\",\"0201\"", "\"type\":\"u32\",\"order\":\"DCBA\"", "16909060"),
        // Arriving bytes 02 03 04 01 are B C D A.
        ("\"0203\",\"0401\"", "\"type\":\"u32\",\"order\":\"BCDA\"", "16909060"),
        ("\"0304\",\"0102\"", "\"type\":\"u32\",\"order\":\"low_first\"", "16909060"),
        ("\"FFFF\",\"FFFE\"", "\"type\":\"i32\",\"order\":\"ABCD\"", "-2"),
        ("\"0000\",\"8000\"", "\"type\":\"i32\",\"order\":\"CDAB\"", "-2147483648"),
        ("\"FFFF\",\"FFFF\",\"FFFF\",\"FFFF\"", "\"type\":\"u64\",\"order\":\"ABCDEFGH\"", "18446744073709551615"),
        ("\"8000\",\"0000\",\"0000\",\"0000\"", "\"type\":\"u64\",\"order\":\"ABCDEFGH\"", "9223372036854775808"),
        ("\"8000\",\"0000\",\"0000\",\"0000\"", "\"type\":\"i64\",\"order\":\"ABCDEFGH\"", "-9223372036854775808"),
        ("\"0708\",\"0506\",\"0304\",\"0102\"", "\"type\":\"u64\",\"order\":\"GHEFCDAB\"", "72623859790382856"),
        ("\"0201\",\"0403\",\"0605\",\"0807\"", "\"type\":\"u64\",\"order\":\"BADCFEHG\"", "72623859790382856"),
        ("\"0807\",\"0605\",\"0403\",\"0201\"", "\"type\":\"u64\",\"order\":\"HGFEDCBA\"", "72623859790382856"),
        ("\"0304\",\"0102\",\"0708\",\"0506\"", "\"type\":\"u64\",\"order\":\"CDABGHEF\"", "72623859790382856"),
        ("\"0506\",\"0708\",\"0102\",\"0304\"", "\"type\":\"u64\",\"order\":\"EFGHABCD\"", "72623859790382856"),
        ("\"580E\",\"436B\"", "\"type\":\"f32\",\"order\":\"CDAB\"", "235.34396"),
        ("\"436B\",\"5810\"", "\"type\":\"f32\",\"order\":\"ABCD\"", "235.344"),
        ("\"3DCC\",\"CCCD\"", "\"type\":\"f32\"", "0.1"),
        ("\"F6C2\",\"79E9\"", "\"type\":\"f32\",\"order\":\"BADC\"", "-123.456"),
        ("\"79E9\",\"F6C2\"", "\"type\":\"f32\",\"order\":\"DCBA\"", "-123.456"),
        ("\"7F7F\",\"FFFF\"", "\"type\":\"f32\",\"order\":\"ABCD\"", "340282350000000000000000000000000000000"),
        ("\"0000\",\"0001\"", "\"type\":\"f32\",\"order\":\"ABCD\"", "0.000000000000000000000000000000000000000000001"),
        ("\"8000\",\"0000\"", "\"type\":\"f32\",\"order\":\"ABCD\"", "0"),
        ("\"406C\",\"D000\",\"0000\",\"0000\"", "\"type\":\"f64\",\"order\":\"ABCDEFGH\"", "230.5"),
        ("\"3FB9\",\"9999\",\"9999\",\"999A\"", "\"type\":\"f64\",\"order\":\"ABCDEFGH\"", "0.1"),
        ("\"0001\",\"0000\",\"0000\",\"4340\"", "\"type\":\"f64\",\"order\":\"GHEFCDAB\"", "9007199254740994"),
        ("\"1234\"", "\"type\":\"bcd16\"", "1234"),
        ("\"3412\"", "\"type\":\"bcd16\",\"order\":\"BA\"", "1234"),
        ("\"1234\",\"5678\"", "\"type\":\"bcd32\",\"order\":\"high_first\"", "12345678"),
        ("\"5678\",\"1234\"", "\"type\":\"bcd32\",\"order\":\"low_first\"", "12345678"),
        ("\"0000\",\"0152\",\"0370\"", "\"type\":\"bcd48\",\"order\":\"ABCDEF\"", "1520370"),
        ("\"0370\",\"0152\",\"0000\"", "\"type\":\"bcd48\",\"order\":\"EFCDAB\"", "1520370"),
        ("\"9999\",\"9999\",\"9999\",\"9999\"", "\"type\":\"bcd64\"", "9999999999999999"),
        ("\"8005\"", "\"type\":\"sm16\"", "-5"),
        ("\"0005\"", "\"type\":\"sm16\"", "5"),
        ("\"8000\"", "\"type\":\"sm16\"", "0"),
        ("\"FFFF\"", "\"type\":\"sm16\"", "-32767"),
        ("\"0064\",\"8000\"", "\"type\":\"sm32\",\"order\":\"CDAB\"", "-100"),
        ("\"7FFF\",\"FFFF\"", "\"type\":\"sm32\",\"order\":\"ABCD\"", "2147483647"),
        // 16D2 is 5842, 0015 is 21: 21 * 10,000 + 5842.
        ("\"16D2\",\"0015\"", "\"type\":\"mod10_2\"", "215842"),
        ("\"16D2\",\"0015\"", "\"type\":\"mod10_2\",\"order\":\"low_first\"", "215842"),
        ("\"0015\",\"16D2\"", "\"type\":\"mod10_2\",\"order\":\"high_first\"", "215842"),
        ("\"0015\",\"16D2\"", "\"type\":\"mod10_2\",\"order\":\"ABCD\"", "215842"),
        ("\"0001\",\"0002\",\"0003\"", "\"type\":\"mod10_3\",\"order\":\"low_first\"", "300020001"),
        ("\"270F\",\"270F\",\"270F\",\"270F\"", "\"type\":\"mod10_4\"", "9999999999999999"),
        // FFFF is -1, FFFE is -2: -1 - 2 * 10,000.
        ("\"FFFF\",\"FFFE\",\"0000\"", "\"type\":\"mod10_3s\",\"order\":\"low_first\"", "-20001"),
        ("\"0000\",\"FFFE\",\"FFFF\"", "\"type\":\"mod10_3s\",\"order\":\"high_first\"", "-20001"),
        ("\"4142\",\"4300\"", "\"type\":\"string\"", "ABC"),
        ("\"2041\",\"4220\"", "\"type\":\"string\",\"order\":\"AB\"", "AB"),
        ("\"4241\",\"0043\"", "\"type\":\"string\",\"order\":\"BA\"", "ABC"),
        ("\"4100\",\"4200\"", "\"type\":\"string\",\"order\":\"upper\"", "AB"),
        ("\"0041\",\"0042\"", "\"type\":\"string\",\"order\":\"lower\"", "AB"),
        ("\"4142\",\"0044\"", "\"type\":\"string\"", "AB"),
        ("\"4142\"", "\"type\":\"string\",\"order\":\"ABCD\"", "AB"),
        ("\"4142\",\"4344\"", "\"type\":\"string\",\"order\":\"ABCD\"", "ABCD"),
        ("\"4142\",\"4344\",\"4546\"", "\"type\":\"string\",\"order\":\"ABCDEF\"", "ABCDEF"),
    ] {
        good(&format!("\"words\":[{words}],{type_and_order}"), value);
    }
}

#[test]
fn scales_are_exact() {
    for (question, value) in [
        ("\"words\":[\"0003\"],\"type\":\"u16\",\"scale\":\"0.1\"", "0.3"),
        ("\"words\":[\"0003\"],\"type\":\"u16\",\"scale\":0.1", "0.3"),
        ("\"words\":[\"5A0A\"],\"type\":\"u16\",\"scale\":0.01,\"offset\":\"-40\"", "190.5"),
        ("\"words\":[3],\"type\":\"u16\",\"scale\":null,\"bit\":null,\"nan\":null,\"order\":null", "3"),
        ("\"words\":[\"3DCC\",\"CCCD\"],\"type\":\"f32\",\"scale\":\"3\"", "0.3"),
        ("\"words\":[\"580E\",\"436B\"],\"type\":\"f32\",\"order\":\"CDAB\",\"scale\":\"0.001\",\"offset\":\"1\"", "1.23534396"),
        (
            "\"words\":[\"FFFF\",\"FFFF\",\"FFFF\",\"FFFF\"],\"type\":\"u64\",\"scale\":\"0.001\",\"offset\":\"0.0005\"",
            "18446744073709551.6155",
        ),
        ("\"words\":[\"00EB\"],\"type\":\"u16\",\"scale_register\":\"FFFF\"", "23.5"),
        ("\"words\":[\"00EB\"],\"type\":\"u16\",\"scale_register\":-1", "23.5"),
        ("\"words\":[\"00EB\"],\"type\":\"u16\",\"scale_register\":65535", "23.5"),
        ("\"words\":[\"00EB\"],\"type\":\"u16\",\"scale_register\":\"-1\"", "23.5"),
        ("\"words\":[\"00EB\"],\"type\":\"i16\",\"scale_register\":\"0003\"", "235000"),
        ("\"words\":[\"00EB\"],\"type\":\"i16\",\"scale_register\":10", "2350000000000"),
        ("\"words\":[\"0001\"],\"type\":\"i16\",\"scale_register\":-10,\"scale\":\"1000\"", "0.0000001"),
        ("\"words\":[\"0008\"],\"type\":\"u16\",\"bit\":3", "1"),
        ("\"words\":[\"0800\"],\"type\":\"u16\",\"order\":\"BA\",\"bit\":3", "1"),
        ("\"words\":[\"FFF7\"],\"type\":\"u16\",\"bit\":3", "0"),
        ("\"words\":[\"8000\",\"0000\"],\"type\":\"u32\",\"order\":\"CDAB\",\"bit\":15", "1"),
        ("\"words\":[\"8000\",\"0000\"],\"type\":\"u32\",\"order\":\"ABCD\",\"bit\":31", "1"),
    ] {
        good(question, value);
    }
}

#[test]
fn what_is_no_value_is_never_a_number() {
    for (question, quality, reason) in [
        ("\"words\":[\"FFFF\"],\"type\":\"u16\",\"nan\":[\"FFFF\"]", "not_available", "marker for no value"),
        ("\"words\":[\"8000\"],\"type\":\"i16\",\"nan\":[\"7FFF\",\"8000\"]", "not_available", "marker for no value"),
        ("\"words\":[\"8000\"],\"type\":\"i16\",\"nan\":[-32768]", "not_available", "marker for no value"),
        ("\"words\":[\"FFFF\"],\"type\":\"u16\",\"nan\":[65535],\"bit\":0", "not_available", "marker for no value"),
        // Compared after reordering; written whole, as words, as a list of words, as a number.
        (
            "\"words\":[\"0000\",\"8000\"],\"type\":\"i32\",\"order\":\"CDAB\",\"nan\":[\"80000000\"]",
            "not_available",
            "marker for no value",
        ),
        (
            "\"words\":[\"0000\",\"8000\"],\"type\":\"i32\",\"order\":\"CDAB\",\"nan\":[\"8000\",\"0000\"]",
            "not_available",
            "marker for no value",
        ),
        (
            "\"words\":[\"0000\",\"8000\"],\"type\":\"i32\",\"order\":\"CDAB\",\"nan\":[[\"8000\",\"0000\"]]",
            "not_available",
            "marker for no value",
        ),
        ("\"words\":[\"0000\",\"8000\"],\"type\":\"i32\",\"order\":\"CDAB\",\"nan\":[-2147483648]", "not_available", "marker for no value"),
        ("\"words\":[\"0000\",\"0000\"],\"type\":\"u32\",\"nan\":[\"00000000\"]", "not_available", "marker for no value"),
        (
            "\"words\":[\"FFFF\",\"FFFF\",\"FFFF\",\"FFFF\"],\"type\":\"u64\",\"nan\":[\"0xFFFFFFFFFFFFFFFF\"]",
            "not_available",
            "marker for no value",
        ),
        ("\"words\":[\"7FC0\",\"0000\"],\"type\":\"f32\"", "not_available", "NaN"),
        ("\"words\":[\"7FBF\",\"FF80\"],\"type\":\"f32\"", "not_available", "NaN"),
        ("\"words\":[\"FFFF\",\"FFFF\"],\"type\":\"f32\",\"order\":\"DCBA\"", "not_available", "NaN"),
        ("\"words\":[\"0000\",\"7F80\"],\"type\":\"f32\",\"order\":\"CDAB\"", "invalid", "infinite"),
        ("\"words\":[\"7FF8\",\"0000\",\"0000\",\"0000\"],\"type\":\"f64\"", "not_available", "NaN"),
        ("\"words\":[\"FFF0\",\"0000\",\"0000\",\"0000\"],\"type\":\"f64\"", "invalid", "infinite"),
        ("\"words\":[\"FFFF\"],\"type\":\"bcd16\"", "not_available", "nothing but filler"),
        ("\"words\":[\"FFFF\",\"FFFF\",\"FFFF\",\"FFFF\"],\"type\":\"bcd64\"", "not_available", "nothing but filler"),
        ("\"words\":[\"12A4\"],\"type\":\"bcd16\"", "invalid", "nibble A is no decimal digit"),
        ("\"words\":[\"0000\",\"000F\"],\"type\":\"bcd32\"", "invalid", "nibble F is no decimal digit"),
        ("\"words\":[\"2710\",\"0000\"],\"type\":\"mod10_2\"", "invalid", "register 10000 is beyond 9999"),
        ("\"words\":[\"FFFF\",\"0000\"],\"type\":\"mod10_2\"", "invalid", "register 65535 is beyond 9999"),
        ("\"words\":[\"8000\",\"0000\",\"0000\"],\"type\":\"mod10_3s\"", "invalid", "register -32768 is beyond 9999"),
        (
            "\"words\":[\"8000\",\"8000\",\"8000\"],\"type\":\"mod10_3s\",\"nan\":[\"8000\",\"8000\",\"8000\"]",
            "not_available",
            "marker for no value",
        ),
        ("\"words\":[\"00EB\"],\"type\":\"u16\",\"scale_register\":\"8000\"", "not_available", "scale register 8000, not implemented"),
        ("\"words\":[\"00EB\"],\"type\":\"u16\",\"scale_register\":-32768", "not_available", "scale register 8000, not implemented"),
        ("\"words\":[\"00EB\"],\"type\":\"u16\",\"scale_register\":\"000B\"", "invalid", "scale register 11 is not within -10 to 10"),
        ("\"words\":[\"00EB\"],\"type\":\"u16\",\"scale_register\":-11", "invalid", "scale register -11 is not within -10 to 10"),
        ("\"words\":[\"0000\",\"0000\"],\"type\":\"string\"", "not_available", "nothing but filler"),
        ("\"words\":[\"FFFF\"],\"type\":\"string\"", "not_available", "nothing but filler"),
        ("\"words\":[\"2020\"],\"type\":\"string\"", "not_available", "nothing but filler"),
        ("\"words\":[\"4107\"],\"type\":\"string\"", "invalid", "not printable text"),
        ("\"words\":[\"C328\"],\"type\":\"string\"", "invalid", "not printable text"),
    ] {
        not_good(question, quality, reason);
    }
}

#[test]
fn what_cannot_be_asked_is_told() {
    for (line, error) in [
        ("", "not a JSON object"),
        ("garbage", "not a JSON object"),
        ("[1,2]", "not a JSON object"),
        (r#"{"words":["0001"],"type":"u17"}"#, "`u17` is no type"),
        (r#"{"words":["0001"],"type":"u32"}"#, "u32 takes 2 registers, not 1"),
        (r#"{"words":[],"type":"string"}"#, "a text takes 1 to 125 registers"),
        (r#"{"words":["0001"],"type":"u16","order":"ABDC"}"#, "no byte order for 2 bytes"),
        (r#"{"words":["0001","0001"],"type":"u32","order":"AABB"}"#, "no byte order for 4 bytes"),
        (r#"{"words":["00001"],"type":"u16","scle":1}"#, "unknown field `scle`"),
        (r#"{"words":["GGGG"],"type":"u16"}"#, "is no register"),
        (r#"{"words":["10000"],"type":"u16"}"#, "is no register"),
        (r#"{"words":["580"],"type":"u16"}"#, "is no register: four hex digits such as"),
        (r#"{"words":["580E",""],"type":"u32"}"#, "is no register"),
        (r#"{"words":["0001","0001"],"type":"u32","nan":[["0000","580"]]}"#, "is no register"),
        (r#"{"words":["4142","4344"],"type":"string","order":"ABCDE"}"#, "is no order for a text"),
        (r#"{"words":[65536],"type":"u16"}"#, "is no register"),
        (r#"{"words":["0001"],"type":"u16","bit":16}"#, "bit 16: there are 0 to 15"),
        (r#"{"words":["0001","0001"],"type":"f32","bit":1}"#, "`bit` is for whole numbers"),
        (r#"{"words":["0001"],"type":"u16","scale":"1,5"}"#, "`1,5` is no decimal number"),
        (r#"{"words":["0001"],"type":"u16","nan":["10000"]}"#, "is no pattern of 1 registers"),
        (r#"{"words":["0001"],"type":"u16","nan":[-32769]}"#, "is no pattern of 1 registers"),
        (r#"{"words":["0001"],"type":"u16","scale_register":"x"}"#, "is no scale register"),
        (r#"{"words":["0001"],"type":"u16","scale_register":70000}"#, "is no scale register"),
        (r#"{"words":["4142"],"type":"string","scale":2}"#, "for numbers, not for a text"),
        (r#"{"words":["4142"],"type":"string","order":"CDAB"}"#, "is no order for a text"),
        (r#"{"type":"u16"}"#, "missing field `words`"),
    ] {
        let answer = registers_line(line);
        assert!(
            answer.failed && answer.json.starts_with(r#"{"id":null,"error":""#) && answer.json.contains(error),
            "{line}: {}",
            answer.json
        );
    }
    assert!(registers_line(&" ".repeat(LINE_LENGTH_MAX + 1)).failed);
    // The id comes back as it was written, also where the rest is wrong.
    for id in ["\"x\"", "12345678901234567890123", "1.50", "[1,{\"a\":null}]", "null"] {
        let answer = registers_line(&format!("{{\"type\":3,\"id\":{id}}}"));
        assert!(answer.json.starts_with(&format!("{{\"id\":{id},\"error\":")), "{}", answer.json);
    }
}

/// Modbus Application Protocol V1.1b3, 6.3, example: registers 108-110 of unit 17.
const TCP: &str = r#""transport":"tcp","request":"150100000006 11 03 006B 0003""#;
const RTU: &str = r#""transport":"rtu","request":"11 03 00 6B 00 03 76 87""#;

#[test]
fn frames_are_told_apart() {
    for (exchange, response, answer) in [
        (TCP, "15 01 00 00 00 09 11 03 06 02 2B 00 00 00 64", r#""words":["022B","0000","0064"]"#),
        // Answers to others before it; split or merged is all the same.
        (TCP, "150000000009110306000100020003 150100000009110306022B00000064", r#""words":["022B","0000","0064"]"#),
        (TCP, "14FF00000003118302 150000000009110306000100020003 150100000003118302", r#""exception":2"#),
        (TCP, "15 01 00 00 00 03 11 83 0B", r#""exception":11"#),
        (TCP, "", r#""error":"timeout""#),
        (TCP, "150000000009110306000100020003", r#""error":"timeout""#),
        (TCP, "150000000009110306000100020003 1500000000", r#""error":"timeout""#),
        (TCP, "15", r#""error":"incomplete""#),
        (TCP, "150100000009110306022B000000", r#""error":"incomplete""#),
        (TCP, "150000000009110306000100020003 15010000000911", r#""error":"incomplete""#),
        (TCP, "150100010009110306022B00000064", r#""error":"protocol_id""#),
        (TCP, "11 03 06 02 2B 00 00 00 64 C8 BA", r#""error":"protocol_id""#),
        (TCP, "150100000009120306022B00000064", r#""error":"unit""#),
        (TCP, "150100000009110406022B00000064", r#""error":"function""#),
        (TCP, "150100000003118402", r#""error":"function""#),
        (TCP, "150100000007110304022B0000", r#""error":"count""#),
        (TCP, "150100000009110304022B00000064", r#""error":"count""#),
        (TCP, "15010000000B110308022B000000640000", r#""error":"count""#),
        (TCP, "150100000001110306022B00000064", r#""error":"count""#),
        (RTU, "11 03 06 02 2B 00 00 00 64 C8 BA", r#""words":["022B","0000","0064"]"#),
        (RTU, "1103006B00037687 110306022B00000064C8BA", r#""words":["022B","0000","0064"]"#),
        (RTU, "11 83 02 C1 34", r#""exception":2"#),
        (RTU, "", r#""error":"timeout""#),
        (RTU, "1103006B00037687", r#""error":"timeout""#),
        (RTU, "11 03 06 02", r#""error":"incomplete""#),
        (RTU, "11 03 06 02 2B 00 00 00 65 C8 BA", r#""error":"crc""#),
        (RTU, "11 03 86 02 2B 00 00 00 64 C8 BA", r#""error":"crc""#),
        (RTU, "12 03 06 02 2B 00 00 00 64 DC 4A", r#""error":"unit""#),
        (RTU, "11 04 06 02 2B 00 00 00 64 89 5C", r#""error":"function""#),
        (RTU, "11 03 04 02 2B 00 00 9A 42", r#""error":"count""#),
        (RTU, "11 03 06 02 2B 00 00 E3 82", r#""error":"count""#),
    ] {
        let line = frame_line(&format!("{{\"id\":1,{exchange},\"response\":\"{response}\"}}"), None);
        assert_eq!(line.json, format!("{{\"id\":1,{answer}}}"), "{response}");
        assert_eq!(line.failed, answer.contains("error"));
    }
    // 6.2, example: inputs 197-218.
    let inputs = frame_line(r#"{"transport":"rtu","request":"010200C40016B839","response":"010203ACDB352288"}"#, None);
    assert_eq!(inputs.json, r#"{"id":null,"bits":[0,0,1,1,0,1,0,1,1,1,0,1,1,0,1,1,1,0,1,0,1,1]}"#);
}

#[test]
fn requests_are_checked() {
    for (line, error) in [
        (r#"{"request":"00","response":""}"#, "no `transport`"),
        (r#"{"transport":"udp","request":"","response":""}"#, "unknown variant `udp`"),
        (r#"{"transport":"tcp","request":"0","response":""}"#, "request: an odd number"),
        (r#"{"transport":"tcp","request":"00xx","response":""}"#, "request: `x` is no hex digit"),
        (r#"{"transport":"tcp","request":"1501000000061103006B0003","response":"0"}"#, "response: an odd number"),
        (r#"{"transport":"tcp","request":"1501000100061103006B0003","response":""}"#, "request: not the 12 bytes"),
        (r#"{"transport":"tcp","request":"1501000000061106006B0003","response":""}"#, "function 6 is no read"),
        (r#"{"transport":"tcp","request":"1501000000061103006B0000","response":""}"#, "quantity 0, 1 to 125 allowed"),
        (r#"{"transport":"tcp","request":"1501000000061103006B007E","response":""}"#, "quantity 126, 1 to 125 allowed"),
        (r#"{"transport":"rtu","request":"1103006B00037688","response":""}"#, "its CRC does not fit"),
        (r#"{"transport":"rtu","request":"11","response":""}"#, "request: not the 8 bytes"),
    ] {
        let answer = frame_line(line, None);
        assert!(answer.failed && answer.json.contains(error), "{line}: {}", answer.json);
    }
    let without = r#"{"request":"1501000000061103006B0003"}"#;
    assert_eq!(frame_line(without, Some(Transport::Tcp)).json, r#"{"id":null,"error":"timeout"}"#);
}

#[test]
fn without_an_order_all_plausible_ones_are_shown() {
    let shown = |type_name: &str, bytes: &str| {
        let question = Question::new(type_name, hex(bytes).unwrap(), None).unwrap();
        let lines = question.in_every_order().into_iter().map(|(order, question)| {
            let answer = question.answer();
            let value = answer.value.map_or_else(|| answer.reason.unwrap_or_default(), |value| question.shown(&value));
            format!("{order} {value}")
        });
        lines.collect::<Vec<_>>().join("; ")
    };
    assert_eq!(shown("f32", "58 0E 43 6B"), "ABCD 625680840000000; CDAB 235.344; BADC 2.66757e-30; DCBA 2.3580827e26");
    assert_eq!(shown("u16", "0102"), "AB 258; BA 513");
    assert_eq!(shown("string", "4100 4200"), "AB A; BA nothing but filler; upper AB; lower nothing but filler");
    assert_eq!(shown("u64", "0000 0000 0000 0001").matches(';').count(), 5);
}

proptest! {
    /// One JSON object comes out, whatever comes in.
    #[test]
    fn any_line_is_answered(line in "\\PC{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let exchange = format!("{{\"id\":1,{RTU},\"response\":\"{hex}\"}}");
        for line in [registers_line(&line), frame_line(&line, None), frame_line(&exchange, None), frame_line(&exchange.replace("rtu", "tcp"), None)] {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&line.json).is_ok_and(|value| value.is_object()), "{}", line.json);
            prop_assert!(!line.json.contains('\n'));
        }
    }

    /// Whole numbers come back through any order.
    #[test]
    fn any_order_reads_back(value in any::<u64>(), order in Just([0u8, 1, 2, 3, 4, 5, 6, 7]).prop_shuffle()) {
        let bytes = order.map(|place| value.to_be_bytes()[usize::from(place)]);
        let letters: String = order.iter().map(|place| char::from(b'A' + place)).collect();
        let answer = Question::new("u64", bytes.to_vec(), Some(&letters)).unwrap().answer();
        prop_assert_eq!(answer.value, Some(value.to_string()));
    }
}
