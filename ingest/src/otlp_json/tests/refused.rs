//! What is refused, and in which words.

use super::super::fault::shorten;
use super::*;

fn check_refusal(text: &str, expected: &str) {
    assert_eq!(refusal(text), expected, "{text}");
}

/// `found` and what is wrong about it, of a member of a record.
fn check_member(members: &str, expected: &str) {
    let reason = refusal(&with_record(members));
    let path = "resourceLogs[0].scopeLogs[0].logRecords[0]";
    let rest = reason.strip_prefix(path).unwrap_or_else(|| panic!("{reason}"));
    let (problem, _place) = rest.rsplit_once(" (line 1, column ").unwrap();
    assert_eq!(problem.trim_start_matches(['.', ':']).trim_start(), expected, "{members}");
}

#[test]
fn an_error_names_field_problem_line_and_column() {
    let text = r#"{"resourceLogs": [{"scopeLogs": [{}, {}, {"logRecords": [{
  "body": {"stringValue": "ä"},
  "attributes":[], "timeUnixNano": "abc"}]}]}]}"#;
    let error = to_protobuf(Signal::Logs, text.as_bytes()).unwrap_err();
    assert_eq!(
        alula_catalog::error_chain(&error),
        "the request is not a valid ExportLogsServiceRequest in JSON; nothing of it was stored: \
         resourceLogs[0].scopeLogs[2].logRecords[0].timeUnixNano: \
         expected a 64-bit unsigned integer, as a number or a string, found \"abc\" (line 3, column 36)"
    );
}

#[test]
fn columns_count_characters() {
    check_refusal(
        "{\"ä\":1,\n\"€😀\":2,\"resourceLogs\":7}",
        "resourceLogs: expected a list, found 7 (line 2, column 23)",
    );
}

#[test]
fn ids_that_are_not_hex_are_refused_by_name() {
    let hex = "expected hex digits, two for each byte (OTLP/JSON takes no ids in base64), found";
    check_member(r#""traceId":"abc""#, &format!("traceId: {hex} \"abc\""));
    check_member(r#""spanId":"0g""#, &format!("spanId: {hex} \"0g\""));
    check_member(r#""spanId":"0x0a""#, &format!("spanId: {hex} \"0x0a\""));
    check_member(r#""spanId":"+1""#, &format!("spanId: {hex} \"+1\""));
    check_member(
        r#""traceId":"W47/95gDgQPSabYzgT/GDA==""#,
        &format!("traceId: {hex} \"W47/95gDgQPSabYzgT/GDA==\""),
    );
    check_member(r#""traceId":[91,142]"#, &format!("traceId: {hex} a list"));
    check_member(r#""traceId":7"#, &format!("traceId: {hex} 7"));
    let of_span =
        |members: &str| reason(&to_protobuf(Signal::Traces, with_span(members).as_bytes()).unwrap_err());
    let span = "resourceSpans[0].scopeSpans[0].spans[0]";
    let reason = of_span(r#""parentSpanId":"x""#);
    assert_eq!(reason, format!("{span}.parentSpanId: {hex} \"x\" (line 1, column 60)"));
    let reason = of_span(r#""links":[{},{"spanId":"é"}]"#);
    assert_eq!(reason, format!("{span}.links[1].spanId: {hex} \"é\" (line 1, column 67)"));
}

#[test]
fn other_bytes_that_are_not_base64_are_refused() {
    for (json, found) in [
        (r#""A""#, "\"A\""),
        (r#""AA==A""#, "\"AA==A\""),
        (r#""A A=""#, "\"A A=\""),
        (r#""+-AA""#, "\"+-AA\""),
        (r#""AA\n==""#, r#""AA\n==""#),
        ("[1,2]", "a list"),
        ("true", "true"),
    ] {
        let expected = format!("body.bytesValue: expected base64 text, found {found}");
        check_member(&format!(r#""body":{{"bytesValue":{json}}}"#), &expected);
    }
}

#[test]
fn integers_are_neither_rounded_nor_wrapped() {
    let unsigned = "a 64-bit unsigned integer";
    let signed = "a 64-bit signed integer";
    for json in
        ["-1", "18446744073709551616", "1e20", "\"1e20\"", "1e999999999999999999999", "\"-1\"", "-1e400"]
    {
        let expected = format!("timeUnixNano: {json} is out of the range of {unsigned}");
        check_member(&format!(r#""timeUnixNano":{json}"#), &expected);
    }
    for json in ["\"9223372036854775808\"", "\"-9223372036854775809\"", "\"1e19\"", "1e999"] {
        let expected = format!("body.intValue: {json} is out of the range of {signed}");
        check_member(&format!(r#""body":{{"intValue":{json}}}"#), &expected);
    }
    for json in ["-1", "4294967296", "\"4294967296\""] {
        let expected = format!("flags: {json} is out of the range of a 32-bit unsigned integer");
        check_member(&format!(r#""flags":{json}"#), &expected);
    }
    let not_integers = [
        "1.5", "1e-1", "\"\"", "\" 1\"", "\"1 \"", "\"0x1\"", "\"+1\"", "\"01\"", "\"1.\"", "\".5\"",
        "\"NaN\"",
    ];
    for json in not_integers.into_iter().chain(["true", "9007199254740993.4", "\"１\""]) {
        let expected = format!("timeUnixNano: expected {unsigned}, as a number or a string, found {json}");
        check_member(&format!(r#""timeUnixNano":{json}"#), &expected);
    }
    check_member(
        r#""timeUnixNano":{}"#,
        &format!("timeUnixNano: expected {unsigned}, as a number or a string, found an object"),
    );
}

#[test]
fn the_name_of_an_enum_value_is_refused_as_such() {
    let expected = "severityNumber: expected the number of an enum value (OTLP/JSON takes no names), found";
    check_member(
        r#""severityNumber":"SEVERITY_NUMBER_INFO""#,
        &format!("{expected} \"SEVERITY_NUMBER_INFO\""),
    );
    check_member(r#""severityNumber":"9""#, &format!("{expected} \"9\""));
    check_member(
        r#""severityNumber":2147483648"#,
        "severityNumber: 2147483648 is out of the range of a 32-bit signed integer",
    );
    check_member(
        r#""severityNumber":9.5"#,
        "severityNumber: expected a 32-bit signed integer, as a number or a string, found 9.5",
    );
}

#[test]
fn doubles_beyond_their_range_are_refused() {
    for json in ["1e309", "-1e309", "\"1e309\"", "179769313486231580793728971405303415079934132710037e260"] {
        let shown = shorten(json);
        let expected = format!("body.doubleValue: {shown} is out of the range of a 64-bit float");
        check_member(&format!(r#""body":{{"doubleValue":{json}}}"#), &expected);
    }
    for json in ["\"nan\"", "\"Inf\"", "\"+Infinity\"", "\"\"", "\"1,5\"", "\"0x1p3\"", "\"1_0\"", "false"] {
        let expected =
            format!("body.doubleValue: expected a 64-bit float, as a number or a string, found {json}");
        check_member(&format!(r#""body":{{"doubleValue":{json}}}"#), &expected);
    }
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    for (members, expected) in [
        (r#""severityText":7"#, "severityText: expected a string, found 7"),
        (r#""severityText":{"a":1}"#, "severityText: expected a string, found an object"),
        (r#""body":"text""#, "body: expected an object, found \"text\""),
        (r#""body":[]"#, "body: expected an object, found a list"),
        (r#""body":{"boolValue":"true"}"#, "body.boolValue: expected `true` or `false`, found \"true\""),
        (r#""body":{"boolValue":1}"#, "body.boolValue: expected `true` or `false`, found 1"),
        (r#""attributes":{"a":"b"}"#, "attributes: expected a list, found an object"),
        (r#""attributes":[{"key":"a"},"b"]"#, "attributes[1]: expected an object, found \"b\""),
        (r#""attributes":[{"key":"a","value":"b"}]"#, "attributes[0].value: expected an object, found \"b\""),
        (r#""attributes":[[]]"#, "attributes[0]: expected an object, found a list"),
    ] {
        check_member(members, expected);
    }
}

#[test]
fn null_is_no_element_of_a_list_of_numbers_or_strings() {
    let json = with_metric(r#""histogram":{"dataPoints":[{"bucketCounts":[1,null]}]}"#);
    assert_eq!(
        reason(&to_protobuf(Signal::Metrics, json.as_bytes()).unwrap_err()),
        "resourceMetrics[0].scopeMetrics[0].metrics[0].histogram.dataPoints[0].bucketCounts[1]: \
         expected a 64-bit unsigned integer, as a number or a string, found null (line 1, column 97)"
    );
    check_refusal(
        r#"{"resourceLogs":[{"resource":{"entityRefs":[{"idKeys":[null]}]}}]}"#,
        "resourceLogs[0].resource.entityRefs[0].idKeys[0]: expected a string, found null (line 1, column 56)",
    );
}

#[test]
fn a_field_that_is_given_twice_is_refused() {
    check_member(r#""flags":1,"eventName":"a","flags":1"#, "flags: the field is given twice");
    check_member(r#""flags":null,"flags":1"#, "flags: the field is given twice");
    check_member(r#""attributes":[],"attributes":[]"#, "attributes: the field is given twice");
    check_member(r#""body":{"intValue":1,"int\u0056alue":2}"#, "body.intValue: the field is given twice");
}

#[test]
fn two_members_of_a_oneof_are_refused() {
    check_member(
        r#""body":{"stringValue":"1","intValue":1}"#,
        "body: `stringValue` and `intValue` are both given, but only one of them may be",
    );
    let of_metric =
        |members: &str| reason(&to_protobuf(Signal::Metrics, with_metric(members).as_bytes()).unwrap_err());
    let metric = "resourceMetrics[0].scopeMetrics[0].metrics[0]";
    assert_eq!(
        of_metric(r#""sum":{},"name":"a","gauge":{}"#),
        format!(
            "{metric}: `sum` and `gauge` are both given, but only one of them may be (line 1, column 79)"
        )
    );
    assert_eq!(
        of_metric(r#""gauge":{"dataPoints":[{"asInt":0,"asDouble":0}]}"#),
        format!(
            "{metric}.gauge.dataPoints[0]: `asInt` and `asDouble` are both given, but only one of them may be \
             (line 1, column 96)"
        )
    );
}

#[test]
fn texts_that_are_no_object_are_refused() {
    for (text, expected) in [
        ("", "expected a value, found the end of the text (line 1, column 1)"),
        (" \n ", "expected a value, found the end of the text (line 2, column 2)"),
        ("null", "expected an object, found null (line 1, column 1)"),
        ("[]", "expected an object, found a list (line 1, column 1)"),
        ("\"{}\"", "expected an object, found \"{}\" (line 1, column 1)"),
        ("<html>", "expected a value, found `<` (line 1, column 1)"),
        ("{} {}", "expected the end of the text, found `{` (line 1, column 4)"),
        ("{}\0", "expected the end of the text, found `\\0` (line 1, column 3)"),
        ("{}\u{feff}", "expected the end of the text, found `\\u{feff}` (line 1, column 3)"),
        ("\u{a0}{}", "expected a value, found `\\u{a0}` (line 1, column 1)"),
    ] {
        check_refusal(text, expected);
    }
}

#[test]
fn breaks_of_the_grammar_are_refused() {
    for (text, expected) in [
        ("{", "expected a name in quotes, found the end of the text (line 1, column 2)"),
        ("{'a':1}", "expected a name in quotes, found `'` (line 1, column 2)"),
        ("{\"a\":1,}", "expected a name in quotes, found `}` (line 1, column 8)"),
        ("{\"a\" 1}", "expected `:`, found `1` (line 1, column 6)"),
        ("{\"a\":}", "expected a value, found `}` (line 1, column 6)"),
        ("{\"a\":1 \"b\":2}", "expected `,` or `}`, found `\"` (line 1, column 8)"),
        ("{\"a\":[1 2]}", "expected `,` or `]`, found `2` (line 1, column 9)"),
        ("{\"a\":[1,]}", "expected a value, found `]` (line 1, column 9)"),
        ("{\"a\":[1}", "expected `,` or `]`, found `}` (line 1, column 8)"),
        ("{\"a\":tru}", "expected a value, found `t` (line 1, column 6)"),
        ("{\"a\":NaN}", "expected a value, found `N` (line 1, column 6)"),
        ("{\"a\":01}", "expected `,` or `}`, found `1` (line 1, column 7)"),
        ("{\"a\":-}", "expected a digit, found `}` (line 1, column 7)"),
        ("{\"a\":1.}", "expected a digit, found `}` (line 1, column 8)"),
        ("{\"a\":1e+}", "expected a digit, found `}` (line 1, column 9)"),
        ("{\"a\":\"b", "expected the end of a string, found the end of the text (line 1, column 8)"),
        ("{\"a\":\"\\x\"}", "expected one of `\"\\/bfnrtu`, found `x` (line 1, column 8)"),
        ("{\"a\":\"\\", "expected one of `\"\\/bfnrtu`, found the end of the text (line 1, column 8)"),
        ("{\"a\":\"\\u12g4\"}", "expected four hex digits, found `1` (line 1, column 9)"),
        ("{\"a\":\"\\u+123\"}", "expected four hex digits, found `+` (line 1, column 9)"),
        ("{\"a\":\"b\nc\"}", "a control character in a string; write it as `\\u000a` (line 1, column 8)"),
        ("{\"a\":1// b\n}", "expected `,` or `}`, found `/` (line 1, column 7)"),
        (
            "{\"resourceLogs\":[{\"schemaUrl\":nul}]}",
            "resourceLogs[0].schemaUrl: expected a value, found `n` (line 1, column 31)",
        ),
        (
            "{\"resourceLogs\":[{\"schemaUrl\":",
            "resourceLogs[0].schemaUrl: expected a value, found the end of the text (line 1, column 31)",
        ),
        (
            "{\"resourceLogs\":[{},",
            "resourceLogs[1]: expected a value, found the end of the text (line 1, column 21)",
        ),
    ] {
        check_refusal(text, expected);
    }
}

#[test]
fn a_text_that_is_not_utf8_is_refused_where_it_is_not() {
    for text in [&b"{\n\"\xc3\xa4\xff\":1}"[..], b"{\n\"\xc3\xa4\xed\xa0\x80\":1}", b"{\n\"\xc3\xa4\xc3"] {
        let error = to_protobuf(Signal::Logs, text).unwrap_err();
        assert_eq!(reason(&error), "the text is not UTF-8 (line 2, column 3)");
    }
    let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let error = to_protobuf(Signal::Logs, &utf16).unwrap_err();
    assert_eq!(reason(&error), "expected a value, found `\\0` (line 1, column 1)");
}

#[test]
fn the_length_of_an_error_is_bounded() {
    let long = "ä\\n".repeat(100_000);
    check_member(
        &format!(r#""body":"{long}""#),
        &format!("body: expected an object, found \"{}...", "ä\\n".repeat(13)),
    );
    check_member(
        &format!(r#""flags":"{long}"#),
        "flags: expected the end of a string, found the end of the text",
    );
    let digits = "9".repeat(100_000);
    check_member(
        &format!(r#""timeUnixNano":{digits}"#),
        &format!("timeUnixNano: {}... is out of the range of a 64-bit unsigned integer", "9".repeat(40)),
    );
    let open = r#"{"kvlistValue":{"values":[{"value":"#.repeat(29);
    let reason = refusal(&with_record(&format!(r#""body":{open}{{"intValue":""#)));
    assert_eq!(
        reason,
        "resourceLogs[0].scopeLogs[0].logRecords[0].body.kvlistValue...values[0].value.kvlistValue.values[0].value.intValue: \
         expected the end of a string, found the end of the text (line 1, column 1090)"
    );
}

#[test]
fn a_text_that_nests_without_end_is_refused() {
    for text in ["[".repeat(200_000), r#"{"a":"#.repeat(200_000), r#"{"resourceLogs":["#.repeat(200_000)] {
        assert!(refusal(&text).contains("expected "));
    }
    let open = r#"{"arrayValue":{"values":["#.repeat(100_000);
    assert!(refusal(&with_record(&format!(r#""body":{open}"#))).contains(": nested deeper than 128 levels"));
}

/// A list of zeros is eight bytes each, and one of `{}` notes a length for each.
#[test]
fn a_text_that_would_become_longer_than_the_limit_is_given_up_there() {
    let point = |zeros: usize| {
        let list = ["0"].repeat(zeros).join(",");
        format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"dataPoints":[{{"explicitBounds":[{list}]}}]}}}}]}}]}}]}}"#
        )
    };
    assert!(to_protobuf(Signal::Metrics, point(LIMIT.bytes / 8 - 10).as_bytes()).is_ok());
    let logs = format!(r#"{{"resourceLogs":[{}]}}"#, ["{}"].repeat(LIMIT.bytes).join(","));
    for (signal, text) in [(Signal::Metrics, point(LIMIT.bytes / 8 + 10)), (Signal::Logs, logs)] {
        let refused = to_protobuf(signal, text.as_bytes()).unwrap_err();
        assert!(matches!(refused, Error::TooLarge { limit } if limit == LIMIT), "{refused}");
    }
}

/// What comes last has nothing behind it to be refused at.
#[test]
fn the_limit_on_the_result_holds_to_the_byte() {
    let text = br#"{"resourceLogs":[{}]}"#;
    let within = |bytes| crate::otlp_json::to_protobuf(Signal::Logs, text, SizeLimit { bytes, ..LIMIT });
    assert_eq!(within(2).unwrap(), [0x0a, 0]);
    assert!(matches!(within(1), Err(Error::TooLarge { .. })));
}
