//! The text format of Prometheus, version 0.0.4.

use std::fmt::{self, Display};

use pixeld_control::saturating_sum;

/// The bounds of a histogram's buckets, in microseconds: powers of two from 1 µs to 67 s. The daemon's own buckets
/// have bounds at each of them, so that the counts are exact.
const BOUNDS: std::ops::RangeInclusive<u32> = 0..=26;

/// Metrics of one or several daemons, each under its name with all its samples.
#[derive(Debug, Default)]
pub struct Exposition {
    families: Vec<Family>,
    /// The host of the samples that are added, if there may be several.
    pub host: Option<String>,
}

#[derive(Debug)]
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: String,
}

impl Display for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.families.iter().try_for_each(|Family { name, kind, help, samples }| {
            write!(f, "# HELP {name} {help}\n# TYPE {name} {kind}\n{samples}")
        })
    }
}

impl Exposition {
    /// Adds a sample of a metric, which is a counter if its name ends in `_total`, else a gauge.
    pub fn add(&mut self, name: &'static str, help: &'static str, value: impl Display) {
        self.add_of(&[], name, help, value);
    }

    /// Adds a sample of a metric that has several, distinguished by these labels.
    pub fn add_of(
        &mut self,
        labels: &[(&str, &str)],
        name: &'static str,
        help: &'static str,
        value: impl Display,
    ) {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        let labels = self.labels(labels);
        *self.samples(name, kind, help) += &format!("{name}{labels} {value}\n");
    }

    /// How long things took; each of `buckets` has a bound in microseconds, which it does not include,
    /// and a count.
    pub fn durations(&mut self, name: &'static str, help: &'static str, buckets: &[(u64, u64)], sum_us: u64) {
        let below =
            |us| saturating_sum(buckets.iter().filter(|(bound, _)| *bound <= us).map(|(_, count)| *count));
        let count = saturating_sum(buckets.iter().map(|(_, count)| *count));
        let bounds = BOUNDS.map(|power| 1 << power).map(|us| (le(us), below(us)));
        let lines: String = bounds
            .chain([("+Inf".into(), count)])
            .map(|(le, count)| format!("{name}_bucket{} {count}\n", self.labels(&[("le", &le)])))
            .collect();
        let labels = self.labels(&[]);
        let time = seconds(sum_us);
        *self.samples(name, "histogram", help) +=
            &format!("{lines}{name}_sum{labels} {time}\n{name}_count{labels} {count}\n");
    }

    fn samples(&mut self, name: &'static str, kind: &'static str, help: &'static str) -> &mut String {
        let place = self.families.iter().position(|family| family.name == name).unwrap_or_else(|| {
            self.families.push(Family { name, kind, help, samples: String::new() });
            self.families.len() - 1
        });
        &mut self.families[place].samples
    }

    fn labels(&self, labels: &[(&str, &str)]) -> String {
        let host = self.host.as_deref().map(|host| ("host", host));
        let labels = host.iter().chain(labels);
        let labels: Vec<_> = labels.map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

/// Microseconds as seconds, exactly.
pub fn seconds(us: u64) -> String {
    let text = format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').into()
}

/// A bound as Prometheus writes it, so that it has one name in all of its versions.
fn le(us: u64) -> String {
    match us {
        0..10 => format!("{us}e-06"),
        10..100 => format!("{}.{}e-05", us / 10, us % 10),
        _ => seconds(us),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_several_daemons_share_a_header() {
        let mut exposition = Exposition::default();
        for host in ["c5", "a\"\\\n"] {
            exposition.host = Some(host.into());
            exposition.add_of(&[("outcome", "ok")], "x_total", "Some x.", 7);
            exposition.add("y", "Some y.", 0.25);
        }
        let expected = "# HELP x_total Some x.\n# TYPE x_total counter\n\
                        x_total{host=\"c5\",outcome=\"ok\"} 7\n\
                        x_total{host=\"a\\\"\\\\\\n\",outcome=\"ok\"} 7\n\
                        # HELP y Some y.\n# TYPE y gauge\n\
                        y{host=\"c5\"} 0.25\ny{host=\"a\\\"\\\\\\n\"} 0.25\n";
        assert_eq!(exposition.to_string(), expected);
    }

    #[test]
    fn duration_buckets_are_cumulative_and_exact() {
        let mut exposition = Exposition::default();
        let buckets =
            [(1, 0), (7, 1), (16, 10), (17, 100), (1 << 26, 1000), (1 << 27, 10_000), (u64::MAX, 100_000)];
        exposition.durations("x", "Some x.", &buckets, 1_500_000);
        let text = exposition.to_string();
        for line in [
            "x_bucket{le=\"1e-06\"} 0\n",
            "x_bucket{le=\"4e-06\"} 0\n",
            "x_bucket{le=\"8e-06\"} 1\n",
            "x_bucket{le=\"1.6e-05\"} 11\n",
            "x_bucket{le=\"3.2e-05\"} 111\n",
            "x_bucket{le=\"33.554432\"} 111\n",
            "x_bucket{le=\"67.108864\"} 1111\n",
            "x_bucket{le=\"+Inf\"} 111111\n",
            "x_sum 1.5\nx_count 111111\n",
        ] {
            assert!(text.contains(line), "{line} {text}");
        }
    }

    #[test]
    fn seconds_have_no_rounding_error() {
        let texts: Vec<_> = [0, 1, 128, 1_000_000, 1_048_576, 90_000_000].map(seconds).into();
        assert_eq!(texts, ["0", "0.000001", "0.000128", "1", "1.048576", "90"]);
    }
}
