//! How long a message takes at an offered rate, from the publisher's write to the subscriber's read.

use super::super::client_arguments::Failure;
use super::Common;
use super::pacer::{Pace, Pacer};
use super::process::cpu_time;
use super::report::Report;
use super::rig::{Load, MessageArguments, Rig};
use super::shape::ShapeArguments;
use super::throughput::microseconds_each;
use crate::units::Period;
use std::sync::Arc;

/// Latency at an offered rate
///
/// Example: wardgate bench latency --url mqtts://localhost:8883 --ca ca.pem --qos 1 --rate 5000
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(flatten)]
    shape: ShapeArguments,
    #[command(flatten)]
    message: MessageArguments,
    /// Messages a second of all publishers together, whatever the broker does
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    #[arg(long, default_value = "1s")]
    warm_up: Period,
    #[arg(long, default_value = "10s")]
    duration: Period,
}

pub(super) async fn measure(arguments: Arguments) -> Result<Report, Failure> {
    let broker = arguments.common.broker_pid.map(|pid| pid.to_string());
    let plan = arguments.shape.plan();
    let paces: Vec<_> = plan
        .publishers
        .iter()
        .map(|_| Arc::new(Pace::default()))
        .collect();
    let load = Load {
        message: arguments.message.clone(),
        window: u64::MAX,
        paces: paces.clone(),
    };
    let mut rig = Rig::start(&arguments.common, plan, load).await?;
    let pacer = Pacer::start(paces, arguments.rate);
    rig.run_for(arguments.warm_up.get()).await?;
    rig.tally.is_timed.set(true);
    let before = broker.as_deref().map(cpu_time).transpose()?;
    rig.run_for(arguments.duration.get()).await?;
    rig.tally.is_timed.set(false);
    let after = broker.as_deref().map(cpu_time).transpose()?;
    let missing = rig.drain().await?;
    drop(pacer);

    let latencies = rig.tally.latencies.borrow();
    let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1000.0;
    let mut report = Report::default();
    report.add("messages", latencies.total());
    for (name, per_mille) in [
        ("p50_us", 500),
        ("p90_us", 900),
        ("p99_us", 990),
        ("p999_us", 999),
    ] {
        report.add_rounded(name, microseconds(latencies.per_mille(per_mille)));
    }
    report.add_rounded("max_us", microseconds(latencies.maximum()));
    if let (Some(after), Some(before)) = (after, before) {
        let each = microseconds_each(after - before, latencies.total());
        report.add_rounded("broker_us_per_message", each);
    }
    report.add("missing", missing);
    report.add("disordered", rig.tally.disordered.get());
    Ok(report)
}
