//! Policies that give away more than anybody is likely to mean.

use super::{Findings, exposure};
use crate::config::{Config, NO_POLICY};
use crate::identity::Method;

pub(super) fn examine(config: &Config, findings: &mut Findings) {
    // Policies that do not load were told already: they stop the start.
    let Ok(policies) = config.load_policies() else {
        return;
    };
    if policies.is_empty() {
        findings.warning(
            "policy",
            "policies",
            NO_POLICY,
            "write one: the samples in policies/ are a beginning",
        );
    }
    for grant in policies.wide_grants() {
        let what = format!("{} {} for {}", grant.action.name(), grant.filter, grant.who);
        if grant.is_for_everybody {
            findings.serious(
                "wildcard-grant",
                grant.rule.to_string(),
                format!("{what}: everybody who comes in"),
                "name the topics, or put the client's own name into them: \"telemetry/${username}/#\"",
            );
        } else {
            findings.note("wildcard-grant", grant.rule.to_string(), what);
        }
    }
    for warning in policies.warnings() {
        findings.warning(
            "policy",
            format!("{}:{}", warning.file.display(), warning.line),
            warning.message.clone(),
            "say it the way it is meant; wardgate policy check tells the same",
        );
    }
    if config.authentication.client_id.bind_to == crate::identity::ClientIdBinding::None
        && config.listeners.values().any(|listener| {
            exposure::is_exposed(listener.bind)
                && listener
                    .authenticate
                    .methods()
                    .any(|method| method != Method::ANONYMOUS)
        })
    {
        findings.warning(
            "client-id",
            "authentication.client_id.bind_to",
            "anybody may connect under any client identifier that is free, and so keep its owner out",
            "bind_to: username",
        );
    }
}
