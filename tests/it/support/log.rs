use std::collections::BTreeMap;

/// A line of a daemon's log.
#[derive(Debug, Clone)]
pub struct LogLine {
    /// With the fields behind it.
    pub text: String,
    pub event: String,
    fields: BTreeMap<String, String>,
}

impl LogLine {
    /// The line, unless it is none of the daemon's own, such as one of the dynamic linker.
    pub fn parse(line: &str) -> Option<Self> {
        let (_, fields) = line.rsplit_once(" event=")?;
        let (event, mut rest) = fields.split_once(' ').unwrap_or((fields, ""));
        let mut fields = BTreeMap::new();
        while let Some((name, value)) = rest.split_once('=') {
            let (value, after) = match value.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').expect("the end of a quoted value"),
                None => value.split_at(value.find(' ').unwrap_or(value.len())),
            };
            fields.insert(name.to_owned(), value.to_owned());
            rest = after.trim_start();
        }
        Some(Self { text: line.into(), event: event.into(), fields })
    }

    /// The value of a field; it has to be there.
    #[track_caller]
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_else(|| panic!("no field {name}: {self:?}"))
    }

    /// Whether it has all these fields with these values.
    pub fn has(&self, fields: &[(&str, &str)]) -> bool {
        fields.iter().all(|(name, value)| self.fields.get(*name).is_some_and(|own| own == value))
    }
}
