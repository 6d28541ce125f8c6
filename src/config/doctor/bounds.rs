//! Limits that were taken away or never set.

use super::{Findings, exposure};
use crate::config::Config;
use crate::limits::Limit;

pub(super) fn examine(config: &Config, findings: &mut Findings) {
    let exposed = config
        .listeners
        .values()
        .any(|listener| exposure::is_exposed(listener.bind));
    let limits = &config.limits;
    let connections = &limits.connections;
    let state = &limits.state;
    let off = [
        (
            "connections.global.rate",
            is_off(connections.global.rate),
            "connections as fast as they come",
        ),
        (
            "connections.global.max",
            is_off(connections.global.max),
            "connections until memory or descriptors end",
        ),
        (
            "connections.per_ip.rate",
            is_off(connections.per_ip.rate),
            "one address may connect as fast as it can",
        ),
        (
            "connections.per_ip.max",
            is_off(connections.per_ip.max),
            "one address may take every connection",
        ),
        (
            "connections.per_user.max",
            is_off(connections.per_user.max),
            "one user may take every connection",
        ),
        (
            "state.sessions",
            is_off(state.sessions),
            "sessions without end",
        ),
        (
            "state.sessions_per_user",
            is_off(state.sessions_per_user),
            "one user may own every session",
        ),
        (
            "state.retained.messages",
            is_off(state.retained.messages),
            "retained messages without end",
        ),
        (
            "state.retained.bytes",
            is_off(state.retained.bytes),
            "retained bytes without end",
        ),
        (
            "state.retained.per_user",
            is_off(state.retained.per_user),
            "one user may retain everything",
        ),
    ];
    for (key, _, what) in off.iter().filter(|(_, off, _)| *off) {
        findings.warning(
            "limit-off",
            format!("limits.{key}"),
            format!("off: {what}"),
            "leave the key out to have the default",
        );
    }
    for (key, off) in [
        ("per_ip", is_off(limits.failures.per_ip)),
        ("per_user", is_off(limits.failures.per_user)),
    ] {
        if off {
            let at = format!("limits.failures.{key}");
            let found = "off: passwords may be guessed without end";
            let advice = "leave the key out to have the default";
            match exposed {
                true => findings.serious("limit-off", at, found, advice),
                false => findings.warning("limit-off", at, found, advice),
            }
        }
    }
    for block in connections
        .per_ip
        .exempt
        .iter()
        .filter(|block| exposure::is_wide(block) && !block.network().is_loopback())
    {
        findings.warning(
            "limit-off",
            "limits.connections.per_ip.exempt",
            format!("{block} is most of the world"),
            "name the proxies that stand for many clients, and no more",
        );
    }
    let unlimited = limits.messages.per_client.is_none() && limits.bytes.per_client.is_none();
    if unlimited {
        findings.note(
            "limit-unset",
            "limits.messages.per_client, limits.bytes.per_client",
            "none: an admitted client may publish as fast as it can; a policy's own limits still hold",
        );
    }
    if state.memory.get() == 0 && state.lag.is_zero() {
        findings.note(
            "limit-unset",
            "limits.state.memory, limits.state.lag",
            "none stated: nothing is shed before memory ends",
        );
    }
}

fn is_off<T: Copy>(limit: Limit<T>) -> bool {
    limit.get().is_none()
}
