//! The text form of Prometheus, version 0.0.4: what a scrape reads.

use crate::stats::counters::{BUCKETS, Histogram, bound};
use std::fmt::Write;

/// What goes with the text as its content type.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A counter.
    Counter,
    /// A gauge.
    Gauge,
    /// A histogram of durations.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// Its labels.
    pub labels: &'static str,
    /// Its HELP text.
    pub help: &'static str,
}

/// A number that only grows.
pub(super) const fn counter(name: &'static str, labels: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, labels, help }
}

/// A number that goes up and down.
pub(super) const fn gauge(name: &'static str, labels: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, labels, help }
}

/// A histogram of durations.
pub(super) const fn histogram(name: &'static str, labels: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Histogram, labels, help }
}

/// A page being written.
#[derive(Debug)]
pub(super) struct MetricsPage {
    /// The table of metrics of the page.
    table: &'static [Metric],
    text: String,
    name: &'static str,
}

impl MetricsPage {
    /// An empty page for the metrics of a table.
    pub(super) fn of(table: &'static [Metric]) -> Self {
        Self { table, text: String::new(), name: "" }
    }

    /// Begins the metric of this name; its samples follow. It must be in the table.
    pub(super) fn metric(&mut self, name: &'static str) -> &mut Self {
        let Some(metric) = self.table.iter().find(|metric| metric.name == name) else {
            debug_assert!(false, "{name} is not in the table");
            return self;
        };
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        // formatting into a string does not fail
        let _ = write!(self.text, "# HELP {name} {}\n# TYPE {name} {kind}\n", metric.help);
        self.name = name;
        self
    }

    /// A sample.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.line("", labels, &number(value))
    }

    /// An integer sample.
    pub(super) fn count(&mut self, labels: &[(&str, &str)], value: u64) -> &mut Self {
        self.line("", labels, &value.to_string())
    }

    /// All samples of a histogram.
    pub(super) fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) -> &mut Self {
        let mut below = 0;
        for (at, count) in histogram.cells.iter().enumerate() {
            below += count;
            let limit = if at < BUCKETS { number(bound(at)) } else { "+Inf".into() };
            let labels = [labels, &[("le", limit.as_str())]].concat();
            self.line("_bucket", &labels, &below.to_string());
        }
        self.line("_sum", labels, &number(histogram.nanos as f64 / 1e9));
        self.line("_count", labels, &below.to_string())
    }

    /// The text.
    pub(super) fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, ending: &str, labels: &[(&str, &str)], value: &str) -> &mut Self {
        self.text.push_str(self.name);
        self.text.push_str(ending);
        for (at, (name, value)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{name}=\"{}\"", if at == 0 { '{' } else { ',' }, escaped(value));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
        self
    }
}

/// A number as Go would parse it back.
fn number(value: f64) -> String {
    format!("{value}")
}

/// A label's value.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out += "\\\\",
            '"' => out += "\\\"",
            '\n' => out += "\\n",
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_buckets_add_up() {
        const TABLE: &[Metric] = &[
            gauge("pvtzd_build_info", "version", "What runs."),
            histogram("pvtzd_dns_request_duration_seconds", "", "How long."),
        ];
        let mut page = MetricsPage::of(TABLE);
        page.metric("pvtzd_build_info").sample(&[("version", "a\"b\\c\nd")], 1.0);
        let mut histogram = Histogram { nanos: 1_500_000_000, ..Histogram::default() };
        (histogram.cells[0], histogram.cells[2], histogram.cells[BUCKETS]) = (3, 1, 1);
        page.metric("pvtzd_dns_request_duration_seconds").histogram(&[], &histogram);
        let text = page.finish();
        assert!(text.contains("pvtzd_build_info{version=\"a\\\"b\\\\c\\nd\"} 1\n"), "{text}");
        for line in [
            "_bucket{le=\"0.00025\"} 3",
            "_bucket{le=\"0.001\"} 4",
            "_bucket{le=\"8.192\"} 4",
            "_bucket{le=\"+Inf\"} 5",
            "_sum 1.5",
            "_count 5",
        ] {
            assert!(text.contains(&format!("pvtzd_dns_request_duration_seconds{line}\n")), "{line}: {text}");
        }
    }
}
