//! The list of metrics, the guide's page and the dashboard say the same.

use std::collections::BTreeSet;

use metrics_exporter_prometheus::PrometheusBuilder;

use super::{
    family::{Handles, Info, MetricKind, keys},
    labels::{EngineLabel, Label, Labels, Operation, OutcomeLabel},
    list::{self, LIST},
};

const PAGE: &str = include_str!("../guide/metrics.md");
const DASHBOARD: &str = include_str!("../../examples/production/dashboard.json");
const PREFIX: &str = "actix_django_session_";

fn names() -> BTreeSet<&'static str> {
    LIST.iter().map(|info| info.name).collect()
}

/// The names in a text that begin with the prefix, without what Prometheus appends for histograms.
fn names_in(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let histograms: Vec<&str> = of_kind(MetricKind::Histogram).map(|info| info.name).collect();
    let words =
        text.split(|c| !is_name(c)).filter(|word| word.len() > PREFIX.len() && word.starts_with(PREFIX));
    let base = |word: &'_ str| {
        let found =
            |name: &&str| ["_bucket", "_sum", "_count"].iter().any(|end| word == format!("{name}{end}"));
        histograms.iter().copied().find(found)
    };
    words.map(|word| base(word).unwrap_or(word)).collect()
}

fn of_kind(kind: MetricKind) -> impl Iterator<Item = &'static Info> {
    LIST.iter().filter(move |info| info.kind == kind)
}

#[test]
fn the_guide_has_every_metric_with_its_type_and_labels() {
    let rows: BTreeSet<String> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter(|line| {
            ["counter", "gauge", "histogram"].iter().any(|kind| line.contains(&format!("| {kind} |")))
        })
        .map(|line| line.split('|').take(3).map(str::trim).collect::<Vec<_>>().join("|"))
        .collect();
    let row = |info: &Info| {
        let name = info.name.strip_prefix(PREFIX).unwrap();
        let labels: Vec<String> = info.labels.iter().map(|(label, _)| format!("`{label}`")).collect();
        format!("{name}`|{}|{}", format!("{:?}", info.kind).to_lowercase(), labels.join(", "))
    };
    assert_eq!(rows, LIST.iter().map(row).collect());
}

#[test]
fn the_guide_has_every_value_of_a_label_and_no_unknown_metric() {
    for (label, values) in LIST.iter().flat_map(|info| info.labels) {
        for value in *values {
            assert!(PAGE.contains(&format!("`{value}`")), "{label}={value}");
        }
    }
    let unknown: Vec<&str> = names_in(PAGE).difference(&names()).copied().collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_dashboard_is_json_and_shows_every_metric() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert_eq!(names_in(&queries.join(" ")), names());
    for query in queries {
        // A quantile needs the buckets, and the sum must keep them apart.
        assert_eq!(query.contains("histogram_quantile"), query.contains("_bucket{"), "{query}");
        assert_eq!(query.contains("_bucket{"), query.contains("by (le"), "{query}");
        for counter in of_kind(MetricKind::Counter).filter(|info| query.contains(info.name)) {
            assert!(query.contains("rate(") || query.contains("increase("), "{}: {query}", counter.name);
        }
    }
}

#[test]
fn names_follow_the_conventions_of_prometheus() {
    assert_eq!(names().len(), LIST.len(), "a name is there twice");
    for info in LIST {
        let rest = info.name.strip_prefix(PREFIX).unwrap();
        assert!(rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{rest}");
        assert_eq!(rest.ends_with("_total"), info.kind == MetricKind::Counter, "{rest}");
        assert_eq!(rest.ends_with("_seconds"), info.unit == metrics::Unit::Seconds, "{rest}");
        assert!(info.description.ends_with('.'), "{}", info.description);
        let series: usize = info.labels.iter().map(|(_, values)| values.len()).product();
        assert!(series <= 600, "{rest} has {series} series");
    }
}

#[test]
fn every_combination_of_labels_has_its_own_key() {
    type All = (EngineLabel, Operation, OutcomeLabel);
    let keys = keys("a_name", All::ALL);
    assert_eq!(keys.len(), EngineLabel::VALUES.len() * Operation::VALUES.len() * OutcomeLabel::VALUES.len());
    let labels = (EngineLabel::Redis, Operation::Touch, OutcomeLabel::KeyTaken);
    let key = &keys[labels.index()];
    let found: Vec<(&str, &str)> = key.labels().map(|label| (label.key(), label.value())).collect();
    assert_eq!(found, [("engine", "redis"), ("operation", "touch"), ("result", "key_taken")]);
    assert_eq!(keys.iter().map(metrics::Key::to_string).collect::<BTreeSet<_>>().len(), keys.len());
}

#[test]
fn a_recorder_may_come_late_and_handles_stay_with_it() {
    let kept = Handles::new(&list::LOGOUTS);
    kept.count(()); // nobody records it
    let recorders = [(); 2].map(|()| PrometheusBuilder::new().build_recorder());
    let text = |n: usize| recorders[n].handle().render();
    metrics::with_local_recorder(&recorders[0], || kept.count(()));
    metrics::with_local_recorder(&recorders[1], || kept.count(()));
    assert!(text(0).contains("actix_django_session_logouts_total 2"), "{}", text(0));
    assert!(!text(1).contains("logouts"), "{}", text(1));
    metrics::with_local_recorder(&recorders[1], || Handles::new(&list::LOGOUTS).count(()));
    assert!(text(1).contains("actix_django_session_logouts_total 1"), "{}", text(1));
}
