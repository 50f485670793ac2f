use super::*;

#[test]
fn tables_are_described_in_wire_types_with_what_drivers_show() {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let schema = Schema::new(vec![Field::new("service_name", dictionary, true)]);
    let described = describe(&schema, Profile::Safe, "public", "logs", true);
    let field = described.field(0);
    assert_eq!((field.data_type(), field.is_nullable()), (&DataType::Utf8, true));
    let mut about: Vec<_> = field.metadata().iter().map(|(key, value)| format!("{key}={value}")).collect();
    about.sort();
    assert_eq!(
        about,
        [
            "ARROW:FLIGHT:SQL:CATALOG_NAME=alula",
            "ARROW:FLIGHT:SQL:IS_AUTO_INCREMENT=0",
            "ARROW:FLIGHT:SQL:IS_CASE_SENSITIVE=1",
            "ARROW:FLIGHT:SQL:IS_READ_ONLY=1",
            "ARROW:FLIGHT:SQL:IS_SEARCHABLE=1",
            "ARROW:FLIGHT:SQL:REMARKS=resource attribute service.name, if it is a text",
            "ARROW:FLIGHT:SQL:SCHEMA_NAME=public",
            "ARROW:FLIGHT:SQL:TABLE_NAME=logs",
            "ARROW:FLIGHT:SQL:TYPE_NAME=VARCHAR",
        ]
    );
}

#[test]
fn numbers_and_times_have_a_precision_and_a_scale() {
    let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    for (data_type, precision, scale) in [
        (DataType::Int64, "19", "0"),
        (DataType::Float64, "15", "0"),
        (DataType::Decimal128(20, 3), "20", "3"),
        (utc, "29", "9"),
    ] {
        let schema = Schema::new(vec![Field::new("x", data_type.clone(), true)]);
        let described = describe(&schema, Profile::Safe, "public", "of_a_tenant", false);
        let about = described.field(0).metadata();
        assert_eq!(about["ARROW:FLIGHT:SQL:PRECISION"], precision, "{data_type}");
        assert_eq!(about["ARROW:FLIGHT:SQL:SCALE"], scale, "{data_type}");
        assert_eq!(about["ARROW:FLIGHT:SQL:IS_READ_ONLY"], "0");
        assert!(!about.contains_key("ARROW:FLIGHT:SQL:REMARKS"));
    }
}
