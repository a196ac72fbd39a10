//! No text, however it is bent, brings the reader down.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// What was read becomes a spec, or a refusal that is short and names a field; and what was written
/// is read again.
fn holds(text: &str) {
    let Ok(config) = PodSandboxConfig::parse(text) else {
        return;
    };
    let written = serde_json::to_string(&config).unwrap();
    assert_eq!(PodSandboxConfig::parse(&written).unwrap(), config);
    let ports = config.port_mappings.len();
    match config.into_spec(None, String::new()) {
        Ok(spec) => assert!(spec.ports.len() <= ports && !spec.namespace.is_empty()),
        Err(error) => {
            let told = error.to_string();
            assert!(!error.field.is_empty() && !error.remedy.is_empty());
            assert!(
                told.len() < 500 && !told.contains(char::is_control),
                "{told:?}"
            );
        }
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-3_i64..5).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z_]{1,12}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Where something stands in a value, for `Value::pointer_mut`.
fn pointers(at: &str, value: &Value, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                pointers(&format!("{at}/{name}"), inner, found);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                pointers(&format!("{at}/{index}"), inner, found);
            }
        }
        _ => {}
    }
}

fn places() -> Vec<String> {
    let mut found = Vec::new();
    pointers("", &serde_json::from_str(ALL).unwrap(), &mut found);
    found
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in any::<String>(), brace in any::<bool>()) {
        holds(&text);
        if brace {
            holds(&format!("{{{text}"));
        }
    }

    #[test]
    fn any_bytes_in_a_good_file_are_read_or_refused(
        at in 0..ALL.len(),
        cut in 0..40_usize,
        bytes in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut file = ALL.as_bytes().to_vec();
        let end = file.len().min(at + cut);
        file.splice(at..end, bytes);
        holds(&String::from_utf8_lossy(&file));
    }

    #[test]
    fn any_values_in_a_good_file_are_read_or_refused(
        bends in proptest::collection::vec((select(places()), any_value()), 1..4),
    ) {
        let mut file: Value = serde_json::from_str(ALL).unwrap();
        for (place, value) in bends {
            if let Some(bent) = file.pointer_mut(&place) {
                *bent = value;
            }
        }
        holds(&file.to_string());
        holds(&serde_norway::to_string(&file).unwrap());
    }
}
