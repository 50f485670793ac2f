//! The reader takes the texts that `serde_json` takes.

use proptest::prelude::*;
use serde_json::Value as Json;

use super::super::number::Decimal;
use super::super::reader::Reader;
use super::*;

/// Reads an object of unknown names.
fn is_taken(text: &str) -> bool {
    to_protobuf(Signal::Logs, text.as_bytes()).is_ok()
}

/// None if `serde_json` ends at a number that is too large for it, which is no question of grammar.
fn is_json(text: &str) -> Option<bool> {
    match serde_json::from_str::<Json>(text) {
        Ok(_) => Some(true),
        Err(error) => (!error.to_string().contains("out of range")).then_some(false),
    }
}

/// Texts made of what JSON is made of, so that many are valid or nearly so.
fn nearly_json() -> impl Strategy<Value = String> {
    let pieces =
        r#"{ } [ ] , : "a" "" "\n" "\u00e4" "\ " \ 1 0 - . e E + -0.5e-3 true false null ä x "k": {} []"#;
    let pieces: Vec<&str> = pieces.split(' ').chain([" ", "\n", "\u{1}"]).collect();
    let soup = proptest::collection::vec(proptest::sample::select(pieces), 0..12);
    let leaf =
        proptest::sample::select(vec!["null", "true", "-1.5e+3", "0", "\"a\\\"b\"", "[]", "{}", " 7 "]);
    let tree = leaf.prop_map(str::to_owned).prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5)
                .prop_map(|items| format!("[{}]", items.join(" ,"))),
            proptest::collection::vec(inner, 0..5).prop_map(|items| {
                let members: Vec<String> = items.iter().map(|item| format!("\"k\" : {item}")).collect();
                format!("{{{}}}", members.join(", "))
            }),
        ]
    });
    prop_oneof![soup.prop_map(|pieces| pieces.concat()), tree]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_reader_takes_what_serde_json_takes(value in nearly_json()) {
        let text = format!("{{\"unknown\":{value}}}");
        let expected = is_json(&text);
        prop_assume!(expected.is_some());
        prop_assert_eq!(Some(is_taken(&text)), expected, "{}", text);
    }

    #[test]
    fn strings_read_as_serde_json_reads_them(string in any::<String>()) {
        let text = serde_json::to_string(&string).unwrap();
        let mut reader = Reader::new(text.as_bytes()).unwrap();
        reader.peek().unwrap();
        prop_assert_eq!(reader.string().unwrap(), string);
        reader.finish().unwrap();
    }

    #[test]
    fn integers_do_not_depend_on_how_they_are_written(value in any::<i64>(), zeros in 0_usize..30) {
        prop_assume!(value != 0);
        let (digits, zeros) = (value.to_string(), "0".repeat(zeros));
        let places = zeros.len();
        let integer = |text: String| Decimal::parse(&text).unwrap().to_integer();
        prop_assert_eq!(integer(format!("{digits}.{zeros}0")), Some(value.into()));
        prop_assert_eq!(integer(format!("{digits}{zeros}e-{places}")), Some(value.into()));
        let sign = if value < 0 { "-" } else { "" };
        let magnitude = digits.trim_start_matches('-');
        let exponent = places + magnitude.len();
        prop_assert_eq!(integer(format!("{sign}0.{zeros}{magnitude}E+{exponent}")), Some(value.into()));
        prop_assert_eq!(integer(format!("{digits}.{zeros}1")), None);
        prop_assert_eq!(integer(format!("{digits}e-25")), None);
    }

    #[test]
    fn doubles_survive_their_digits(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        for text in [ryu::Buffer::new().format_finite(value).to_owned(), format!("{value}"), format!("{value:e}")] {
            prop_assert_eq!(Decimal::parse(&text).unwrap().to_double().to_bits(), bits);
        }
    }
}
