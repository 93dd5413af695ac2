//! What a unit needs, and what it comes after.

use std::collections::{BTreeMap, BTreeSet};

use super::unit_file::UnitFile;

/// The names of units with a suffix; without one it is a service.
pub(super) fn full_name(name: &str) -> String {
    let suffixes = [".service", ".target", ".socket", ".timer", ".mount", ".path", ".slice"];
    if suffixes.iter().any(|suffix| name.ends_with(suffix)) { name.into() } else { format!("{name}.service") }
}

/// Everything that starts with some units: themselves, and what they want, as far as there are such units.
pub(super) fn closure(
    units: &[String],
    load: &dyn Fn(&str) -> Option<UnitFile>,
) -> BTreeMap<String, UnitFile> {
    let mut out = BTreeMap::new();
    let mut open = units.to_vec();
    while let Some(name) = open.pop() {
        if out.contains_key(&name) || !name.ends_with(".service") {
            continue;
        }
        let Some(file) = load(&name) else { continue };
        for key in ["Requires", "Wants", "BindsTo", "Requisite"] {
            open.extend(file.words("Unit", key));
        }
        out.insert(name, file);
    }
    out
}

/// For each unit the others that it starts after.
pub(super) fn order(units: &BTreeMap<String, UnitFile>) -> BTreeMap<String, BTreeSet<String>> {
    let mut out: BTreeMap<String, BTreeSet<String>> =
        units.keys().map(|name| (name.clone(), BTreeSet::new())).collect();
    for (name, file) in units {
        for earlier in file.words("Unit", "After").into_iter().filter(|earlier| units.contains_key(earlier)) {
            out.entry(name.clone()).or_default().insert(earlier);
        }
        for later in file.words("Unit", "Before").into_iter().filter(|later| units.contains_key(later)) {
            out.entry(later).or_default().insert(name.clone());
        }
    }
    out
}

/// Layers to start one after the other. What waits for itself comes last, all at once.
pub(super) fn layers(mut order: BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    while !order.is_empty() {
        let mut free: Vec<String> =
            order.iter().filter(|(_, earlier)| earlier.is_empty()).map(|(name, _)| name.clone()).collect();
        if free.is_empty() {
            free = order.keys().cloned().collect();
        }
        for name in &free {
            order.remove(name);
        }
        for earlier in order.values_mut() {
            earlier.retain(|name| !free.contains(name));
        }
        out.push(free);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(name: &str) -> Option<UnitFile> {
        let text = match name {
            "sala.service" => {
                "[Unit]\nRequires=etcd.service missing.service\nAfter=etcd.service network.target"
            }
            "etcd.service" => "[Unit]\nWants=disk.service",
            "disk.service" => "[Unit]\nBefore=etcd.service",
            _ => return None,
        };
        let mut file = UnitFile::default();
        file.add(text);
        Some(file)
    }

    #[test]
    fn what_is_needed_starts_too_and_in_order() {
        let units = closure(&["sala.service".to_owned()], &load);
        let layers = layers(order(&units));
        assert_eq!(layers, [vec!["disk.service"], vec!["etcd.service"], vec!["sala.service"]]);
    }

    #[test]
    fn units_that_start_together_do_so_in_their_order_though_none_wants_the_other() {
        let load = |name: &str| {
            let mut file = UnitFile::default();
            file.add(if name == "sala.service" { "[Unit]\nAfter=sala-boot.service" } else { "[Unit]" });
            Some(file)
        };
        let units = closure(&["sala.service", "sala-boot.service"].map(str::to_owned), &load);
        assert_eq!(layers(order(&units)), [vec!["sala-boot.service"], vec!["sala.service"]]);
    }

    #[test]
    fn a_circle_does_not_hang() {
        let circle = BTreeMap::from([
            ("a".to_owned(), BTreeSet::from(["b".to_owned()])),
            ("b".to_owned(), BTreeSet::from(["a".to_owned()])),
        ]);
        assert_eq!(layers(circle), [vec!["a", "b"]]);
    }
}
