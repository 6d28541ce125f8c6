//! A decision found again in the audit trail by its id.

use crate::policy::Observation;
use crate::telemetry::audit_log::records;
use serde_json::Value;
use std::path::Path;

/// What the trail says of a decision.
pub(super) struct Recorded {
    pub(super) fields: Value,
    /// `None`: it was not about a topic, such as a refused login.
    pub(super) observation: Option<Observation>,
}

/// The last line that bears the id.
pub(super) fn find(trail: &Path, decision: &str) -> Result<Recorded, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", trail.display());
    let mut found = None;
    for entry in records(trail).map_err(|error| told(&error))? {
        let entry = entry.map_err(|error| told(&error))?;
        let is_it =
            |fields: &Value| fields.get("decision").and_then(Value::as_str) == Some(decision);
        if let Some(fields) = entry.fields().filter(is_it) {
            found = Some((fields, entry.text));
        }
    }
    let Some((fields, text)) = found else {
        return Err(told(&format_args!(
            "no decision {decision:?}: rotated away, or summed up with others like it"
        )));
    };
    Ok(Recorded {
        observation: Observation::read(&text)?,
        fields,
    })
}

impl Recorded {
    pub(super) fn text(&self, name: &str) -> &str {
        self.fields
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}
