//! How many messages a second, and what each costs the broker, with at most a window of them under way.

use super::super::client_arguments::Failure;
use super::Common;
use super::process::cpu_time;
use super::report::Report;
use super::rig::{Load, MessageArguments, Rig};
use super::shape::ShapeArguments;
use crate::units::Period;
use std::time::{Duration, Instant};

/// Messages per second in a closed loop, and the broker's CPU time for each
///
/// Example: wardgate bench throughput --url mqtt://localhost:1883 --shape fan-out --publishers 1 --subscribers 100 --window 50 --json
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(flatten)]
    shape: ShapeArguments,
    #[command(flatten)]
    message: MessageArguments,
    /// Messages that each publisher may have under way, from its write to the last subscriber's read
    #[arg(long, default_value_t = 100)]
    window: u64,
    #[arg(long, default_value = "1s")]
    warm_up: Period,
    #[arg(long, default_value = "5s")]
    duration: Period,
}

pub(super) async fn measure(arguments: Arguments) -> Result<Report, Failure> {
    let broker = arguments.common.broker_pid.map(|pid| pid.to_string());
    let load = Load {
        message: arguments.message.clone(),
        window: arguments.window,
        paces: Vec::new(),
    };
    let mut rig = Rig::start(&arguments.common, arguments.shape.plan(), load).await?;
    rig.run_for(arguments.warm_up.get()).await?;
    let before = Sample::take(&rig, broker.as_deref())?;
    rig.run_for(arguments.duration.get()).await?;
    let after = Sample::take(&rig, broker.as_deref())?;
    let missing = rig.drain().await?;

    let mut report = Report::default();
    let messages = after.delivered - before.delivered;
    let seconds = (after.at - before.at).as_secs_f64();
    report.add("messages", messages);
    report.add_rounded("messages_per_second", messages as f64 / seconds);
    if let (Some(after), Some(before)) = (after.broker, before.broker) {
        report.add_rounded("broker_cpu_seconds", (after - before).as_secs_f64());
        report.add_rounded(
            "broker_us_per_message",
            microseconds_each(after - before, messages),
        );
    }
    let own = after.own - before.own;
    report.add_rounded("generator_us_per_message", microseconds_each(own, messages));
    report.add("missing", missing);
    report.add("disordered", rig.tally.disordered.get());
    Ok(report)
}

pub(super) fn microseconds_each(time: Duration, messages: u64) -> f64 {
    time.as_secs_f64() * 1e6 / messages.max(1) as f64
}

struct Sample {
    at: Instant,
    delivered: u64,
    broker: Option<Duration>,
    own: Duration,
}

impl Sample {
    fn take(rig: &Rig, broker: Option<&str>) -> Result<Self, Failure> {
        Ok(Self {
            at: Instant::now(),
            delivered: rig.delivered(),
            broker: broker.map(cpu_time).transpose()?,
            own: cpu_time("self")?,
        })
    }
}
