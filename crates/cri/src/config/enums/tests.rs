use std::fmt::Debug;

use super::*;

fn parsed<T: Enumeration + for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    let json: Result<T, _> = serde_json::from_str(text);
    json.map_err(|error| error.to_string())
}

fn is_spelt_both_ways<T>()
where
    T: Enumeration + PartialEq + Debug + Serialize + for<'de> Deserialize<'de>,
{
    for (number, (name, value)) in T::VALUES.iter().enumerate() {
        assert_eq!(serde_json::to_value(value).unwrap(), *name);
        let quoted = format!("'{name}'").replace('\'', "\"");
        let spellings = [
            number.to_string(),
            quoted.clone(),
            quoted.to_lowercase(),
            quoted.to_uppercase(),
        ];
        for spelling in spellings {
            assert_eq!(parsed::<T>(&spelling).as_ref(), Ok(value), "{spelling}");
            let yaml: T = serde_norway::from_str(&spelling).unwrap();
            assert_eq!(yaml, *value, "{spelling}");
        }
    }
    let beyond = T::VALUES.len().to_string();
    let names = format!("is no {} ({})", T::WHAT, T::REMEDY);
    for wrong in [
        beyond.as_str(),
        "-1",
        "9223372036854775807",
        "\"\"",
        "\"Other\"",
    ] {
        let error = parsed::<T>(wrong).unwrap_err();
        assert!(error.contains(&names), "{wrong}: {error}");
        assert!(error.contains(wrong.trim_matches('"')), "{wrong}: {error}");
    }
    for wrong in ["1.5", "true", "null", "[0]", "{}", "9223372036854775808"] {
        let error = parsed::<T>(wrong).unwrap_err();
        assert!(error.contains("number or the name"), "{wrong}: {error}");
    }
}

#[test]
fn each_value_is_read_by_number_and_by_name_and_written_by_name() {
    is_spelt_both_ways::<Protocol>();
    is_spelt_both_ways::<NamespaceMode>();
    is_spelt_both_ways::<SupplementalGroupsPolicy>();
    is_spelt_both_ways::<ProfileType>();
}

#[test]
fn what_stands_in_an_error_is_bounded_and_one_line() {
    let name = format!("\"a\\n{}\"", "x".repeat(10_000));
    let error = parsed::<Protocol>(&name).unwrap_err();
    assert!(error.contains("'a?xxx"), "{error}");
    assert!(
        error.len() < 200 && !error.contains(char::is_control),
        "{error}"
    );
}
