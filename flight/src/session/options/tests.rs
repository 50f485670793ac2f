use super::*;

const LIMIT: Option<Duration> = Some(Duration::from_secs(30));

fn string(value: &str) -> OptionValue {
    OptionValue::String(value.to_owned())
}

/// The settings after the option was set on default ones.
fn with(name: &str, value: OptionValue) -> Result<Settings, ErrorValue> {
    let mut settings = Settings::default();
    set(&mut settings, name, Some(&value), LIMIT)?;
    Ok(settings)
}

#[test]
fn every_option_takes_its_values_and_no_others() {
    use OptionValue::{Bool, Double, Int64};
    let wide = i64::from(u32::MAX);
    let valid = [
        ("catalog", vec![string("alula")], vec![string("other"), string(""), Bool(true)]),
        (
            "schema",
            vec![string("public"), string("system"), string("information_schema")],
            vec![string("PUBLIC"), string(""), string("other"), Int64(1)],
        ),
        (
            "timezone",
            vec![string("UTC"), string("utc"), string("Etc/UTC"), string("Z"), string("+00:00")],
            vec![string("Europe/Berlin"), string("+01:00"), string(""), Int64(0)],
        ),
        ("wire_profile", vec![string("bi"), string("NATIVE")], vec![string("best"), Bool(true)]),
        ("tail", vec![Bool(true), string("true"), string("0")], vec![string("yes"), Int64(1)]),
        (
            "tail_from",
            vec![Int64(7), Int64(wide), string("7"), Double(7.0), string("now")],
            vec![Int64(-1), Double(7.5), Double(-1.0), Double(f64::NAN), Double(1e300), string("x")],
        ),
        (
            "statement_timeout",
            vec![Int64(1), Int64(30_000), string("500"), Double(500.0)],
            vec![Int64(0), Int64(30_001), string("-1"), string("1s"), Bool(true)],
        ),
        (
            "endpoints",
            vec![Int64(1), Int64(64), string("8"), Double(2.0)],
            vec![Int64(0), Int64(65), Int64(-1), Int64(1 << 33), string("many"), Bool(true)],
        ),
    ];
    for (name, valid, invalid) in valid {
        for value in valid {
            with(name, value.clone()).unwrap_or_else(|error| panic!("{name} = {value:?}: {error:?}"));
        }
        for value in invalid {
            assert_eq!(with(name, value.clone()), Err(ErrorValue::InvalidValue), "{name} = {value:?}");
        }
    }
    for name in ["", "Catalog", "database"] {
        assert_eq!(with(name, string("x")), Err(ErrorValue::InvalidName), "{name}");
    }
}

#[test]
fn no_value_brings_the_default_back() {
    let changes = [
        ("schema", string("system")),
        ("wire_profile", string("bi")),
        ("tail", OptionValue::Bool(true)),
        ("tail_from", OptionValue::Int64(7)),
        ("statement_timeout", OptionValue::Int64(7)),
        ("endpoints", OptionValue::Int64(7)),
    ];
    let mut settings = Settings::default();
    for (name, value) in &changes {
        let before = settings.clone();
        set(&mut settings, name, Some(value), LIMIT).unwrap();
        assert_ne!(settings, before, "{name}");
    }
    for name in changes.iter().map(|(name, _)| *name).chain(["catalog", "timezone"]) {
        set(&mut settings, name, None, LIMIT).unwrap();
    }
    assert_eq!(settings, Settings::default());
}

#[test]
fn what_holds_is_told_with_the_defaults() {
    let get =
        |settings: &Settings, name: &str| all(settings, LIMIT).remove(name).unwrap().option_value.unwrap();
    let defaults = Settings::default();
    assert_eq!(get(&defaults, "catalog"), string("alula"));
    assert_eq!(get(&defaults, "schema"), string("public"));
    assert_eq!(get(&defaults, "timezone"), string("UTC"));
    assert_eq!(get(&defaults, "wire_profile"), string("safe"));
    assert_eq!(get(&defaults, "tail"), OptionValue::Bool(false));
    assert_eq!(get(&defaults, "tail_from"), string("now"));
    assert_eq!(get(&defaults, "statement_timeout"), OptionValue::Int64(30_000));
    assert_eq!(get(&defaults, "endpoints"), OptionValue::Int64(1));
    assert_eq!(get(&with("endpoints", string("8")).unwrap(), "endpoints"), OptionValue::Int64(8));
    assert_eq!(get(&with("tail_from", string("7")).unwrap(), "tail_from"), OptionValue::Int64(7));
    let shorter = with("statement_timeout", string("5")).unwrap();
    assert_eq!(get(&shorter, "statement_timeout"), OptionValue::Int64(5));
    assert_eq!(all(&defaults, None)["statement_timeout"].option_value, Some(OptionValue::Int64(0)));
}
