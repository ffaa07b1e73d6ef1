use std::cmp::Ordering;

/// Compares two versions as Semantic Versioning does (items 10 and 11). `None` if it does not say: one of
/// them has another form, or both are pre-releases of the same version.
pub fn compare(left: &str, right: &str) -> Option<Ordering> {
    if left == right {
        return Some(Ordering::Equal);
    }
    let [left, right] = [left, right].map(parse);
    let (left, right) = (left?, right?);
    if left == right && !left.1 { None } else { Some(left.cmp(&right)) }
}

/// The numbers of a version, and whether it is a release rather than a pre-release.
fn parse(version: &str) -> Option<([u64; 3], bool)> {
    let (version, _build) = version.split_once('+').unwrap_or((version, ""));
    let (numbers, is_release) =
        version.split_once('-').map_or((version, true), |(numbers, _pre_release)| (numbers, false));
    let numbers: Result<Vec<u64>, _> = numbers.split('.').map(str::parse).collect();
    Some((numbers.ok()?.try_into().ok()?, is_release))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        for (older, newer) in [
            ("0.1.0", "0.2.0-dev"),
            ("0.2.0-dev", "0.2.0"),
            ("0.9.9", "0.10.0"),
            ("0.2.0", "1.0.0-rc.1"),
            ("1.9.0+git-1", "2.0.0"),
        ] {
            assert_eq!(compare(older, newer), Some(Ordering::Less), "{older} {newer}");
            assert_eq!(compare(newer, older), Some(Ordering::Greater), "{older} {newer}");
        }
        assert_eq!(compare("0.2.0-dev", "0.2.0-dev"), Some(Ordering::Equal));
        for unknown in ["0.2.0-rc1", "0.2", "252 (252.39-1)", ""] {
            assert_eq!(compare(unknown, "0.2.0-dev"), None, "{unknown}");
        }
    }
}
