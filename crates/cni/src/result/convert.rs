//! A result of one version written as another.
//!
//! Everything goes up to the newest shape first and down from there, so that each step knows two
//! shapes only. Keys that are not known stay, except on the way to 0.2, whose shape has no room.

use serde_json::{Map, Value, json};

use crate::version::SpecVersion;

/// Keys of an interface that came with 1.1.0.
const NEW_INTERFACE_KEYS: [&str; 3] = ["mtu", "socketPath", "pciID"];
/// Keys of a route that came with 1.1.0.
const NEW_ROUTE_KEYS: [&str; 5] = ["mtu", "advmss", "priority", "table", "scope"];

/// Writes `result`, which is of version `from`, as version `to`.
pub(crate) fn convert(
    mut result: Map<String, Value>,
    from: SpecVersion,
    to: SpecVersion,
) -> Map<String, Value> {
    if from != to {
        result = lower(raise(result, from), to);
    }
    result.insert("cniVersion".to_owned(), json!(to.as_str()));
    result
}

/// Up to the newest shape.
fn raise(mut result: Map<String, Value>, from: SpecVersion) -> Map<String, Value> {
    if from < SpecVersion::V0_3_0 {
        raise_families(&mut result);
    }
    for ip in elements(&mut result, "ips") {
        ip.remove("version");
    }
    result
}

/// Down from the newest shape.
fn lower(mut result: Map<String, Value>, to: SpecVersion) -> Map<String, Value> {
    if to < SpecVersion::V1_1_0 {
        drop_keys(&mut result, "interfaces", &NEW_INTERFACE_KEYS);
        drop_keys(&mut result, "routes", &NEW_ROUTE_KEYS);
    }
    if to < SpecVersion::V0_3_0 {
        return lower_families(&result);
    }
    if to < SpecVersion::V1_0_0 {
        for ip in elements(&mut result, "ips") {
            let version = if is_ipv6(ip.get("address")) { "6" } else { "4" };
            ip.insert("version".to_owned(), json!(version));
        }
    }
    result
}

/// `ip4` and `ip6` become `ips` and `routes`.
fn raise_families(result: &mut Map<String, Value>) {
    let mut ips = Vec::new();
    let mut routes = Vec::new();
    for family in ["ip4", "ip6"] {
        let Some(Value::Object(mut config)) = result.remove(family) else {
            continue;
        };
        if let Some(Value::Array(more)) = config.remove("routes") {
            routes.extend(more);
        }
        let mut ip = Map::new();
        for (old, new) in [("ip", "address"), ("gateway", "gateway")] {
            if let Some(value) = config.remove(old) {
                ip.insert(new.to_owned(), value);
            }
        }
        ips.push(Value::Object(ip));
    }
    result.insert("ips".to_owned(), Value::Array(ips));
    result.insert("routes".to_owned(), Value::Array(routes));
}

/// The first address of each family, its routes, and `dns`: there is no room for more.
fn lower_families(result: &Map<String, Value>) -> Map<String, Value> {
    let list = |key: &str| match result.get(key) {
        Some(Value::Array(list)) => list.as_slice(),
        _ => &[],
    };
    let mut lowered = Map::new();
    for (family, six) in [("ip4", false), ("ip6", true)] {
        let of_family = |value: &Value, key: &str| is_ipv6(value.get(key)) == six;
        let Some(ip) = list("ips").iter().find(|ip| of_family(ip, "address")) else {
            continue;
        };
        let mut config = Map::new();
        config.insert(
            "ip".to_owned(),
            ip.get("address").cloned().unwrap_or_default(),
        );
        if let Some(gateway) = ip.get("gateway") {
            config.insert("gateway".to_owned(), gateway.clone());
        }
        let routes: Vec<Value> = list("routes")
            .iter()
            .filter(|route| of_family(route, "dst"))
            .cloned()
            .collect();
        if !routes.is_empty() {
            config.insert("routes".to_owned(), Value::Array(routes));
        }
        lowered.insert(family.to_owned(), Value::Object(config));
    }
    if let Some(dns) = result.get("dns") {
        lowered.insert("dns".to_owned(), dns.clone());
    }
    lowered
}

fn drop_keys(result: &mut Map<String, Value>, list: &str, keys: &[&str]) {
    for element in elements(result, list) {
        element.retain(|key, _| !keys.contains(&key.as_str()));
    }
}

/// The objects of a list; elements of another shape are left to the reader, which names them.
fn elements<'a>(
    result: &'a mut Map<String, Value>,
    list: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    result
        .get_mut(list)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

fn is_ipv6(address: Option<&Value>) -> bool {
    address
        .and_then(Value::as_str)
        .is_some_and(|text| text.contains(':'))
}
