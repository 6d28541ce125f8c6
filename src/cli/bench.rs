//! `wardgate bench`: the load generator of the project's own benchmarks.

mod clock;
mod connect;
mod flow;
mod histogram;
mod idle;
mod latency;
mod link;
mod pacer;
mod process;
mod publisher;
mod report;
mod rig;
mod shape;
mod subscriber;
mod template;
mod throughput;

use super::client_arguments::{ClientArguments, Failure};
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Measure a broker: throughput, latency, connection storms, idle connections
///
/// Example: wardgate bench throughput --url mqtt://localhost:1883 --mqtt-version 3.1.1 --qos 1 --window 100 --broker-pid $(pidof mosquitto)
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Subcommand, Debug)]
enum Kind {
    Throughput(throughput::Arguments),
    Latency(latency::Arguments),
    Connect(connect::Arguments),
    Idle(idle::Arguments),
}

/// What every measurement is told.
#[derive(Args, Clone, Debug)]
struct Common {
    #[command(flatten)]
    client: ClientArguments,
    /// The broker's process, for its CPU time and memory
    #[arg(long, value_name = "PID")]
    broker_pid: Option<u32>,
    /// Print the figures as one line of JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    super::client_arguments::run("bench", async {
        // One thread for all: nothing in the generator waits for a lock, and the second core is the broker's.
        tokio::task::LocalSet::new()
            .run_until(measure(arguments.kind))
            .await
    })
}

async fn measure(kind: Kind) -> Result<(), Failure> {
    let (json, report) = match kind {
        Kind::Throughput(arguments) => {
            (arguments.common.json, throughput::measure(arguments).await?)
        }
        Kind::Latency(arguments) => (arguments.common.json, latency::measure(arguments).await?),
        Kind::Connect(arguments) => (arguments.common.json, connect::measure(arguments).await?),
        Kind::Idle(arguments) => (arguments.common.json, idle::measure(arguments).await?),
    };
    report.print(json)
}
