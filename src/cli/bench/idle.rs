//! What connections cost that say nothing.

use super::super::client_arguments::Failure;
use super::Common;
use super::process::{cpu_time, resident};
use super::report::Report;
use super::rig::numbered;
use crate::client::io::{Connection, dial};
use crate::client::{Client, Options};
use crate::units::Period;
use std::time::Instant;

/// Resident bytes of the broker for each idle connection
///
/// Example: wardgate bench idle --url mqtt://localhost:1883 --connections 10000 --broker-pid $(pidof mosquitto)
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
    #[arg(long, default_value_t = 10_000)]
    connections: u32,
    /// How long to hold them before the broker's memory is read
    #[arg(long, default_value = "5s")]
    hold: Period,
}

pub(super) async fn measure(arguments: Arguments) -> Result<Report, Failure> {
    let client = &arguments.common.client;
    let broker = arguments.common.broker_pid.map(|pid| pid.to_string());
    let tls = match client.url.scheme.is_secure() {
        true => Some(client.tls_files().build()?),
        false => None,
    };
    let password = client.password()?;
    let before = broker.as_deref().map(resident).transpose()?;
    let mut connections = Vec::new();
    for number in 0..arguments.connections {
        let mut connect = client.connect(password.clone());
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        connect.client_identifier = numbered(&client.client_id, "i", number)?;
        connect.keep_alive = 0;
        let stream = dial(&client.url, tls.as_ref()).await?;
        let client = Client::new(connect, Options::default(), Instant::now());
        connections.push(Connection::open(client, stream).await?.0);
    }
    let half = arguments.hold.get() / 2;
    tokio::time::sleep(half).await;
    let cpu_before = broker.as_deref().map(cpu_time).transpose()?;
    tokio::time::sleep(half).await;

    let mut report = Report::default();
    report.add("connections", arguments.connections);
    if let (Some(broker), Some(before), Some(cpu_before)) = (broker, before, cpu_before) {
        let after = resident(&broker)?;
        let each = after.saturating_sub(before) / u64::from(arguments.connections.max(1));
        report.add("resident_before", before);
        report.add("resident_after", after);
        report.add("bytes_per_connection", each);
        let idle = cpu_time(&broker)? - cpu_before;
        report.add_rounded("broker_cpu_share", idle.as_secs_f64() / half.as_secs_f64());
    }
    drop(connections);
    Ok(report)
}
