//! `wardgate serve`: the broker in the foreground, until a signal ends it.

use super::notify::Supervisor;
use crate::broker::{self, Running};
use crate::config::{self, Config};
use crate::problem::Problem;
use crate::telemetry::{logging, panics};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Run the broker in the foreground
///
/// Prints one line `wardgate ready` on stderr once every listener accepts. SIGTERM and SIGINT stop it gracefully, SIGHUP reloads.
///
/// Example: wardgate serve --config wardgate.yaml
#[derive(clap::Args)]
pub struct ServeArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "wardgate.yaml")]
    pub config: PathBuf,
    /// Write {"listener-name": port, …} here once ready
    #[arg(long, value_name = "FILE")]
    pub port_file: Option<PathBuf>,
}

pub fn run(arguments: &ServeArgs) -> ExitCode {
    match Config::load(&arguments.config, std::env::vars_os()) {
        Ok(config) => serve(
            config,
            &arguments.config,
            arguments.port_file.as_deref(),
            |_| {},
        ),
        // All that is wrong at once, as `check` tells it; there is nothing to serve with anyhow.
        Err(problems) => {
            let checked = config::check(&arguments.config, std::env::vars_os(), SystemTime::now());
            match checked.problems.is_empty() {
                true => refuse(&problems),
                false => refuse(&checked.problems),
            }
        }
    }
}

/// Serves until told to stop; `when_ready` runs once every listener accepts.
pub fn serve(
    config: Config,
    file: &Path,
    port_file: Option<&Path>,
    when_ready: impl FnOnce(&Running),
) -> ExitCode {
    logging::init(&config.log);
    panics::watch();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no threads to serve with: {error}")),
    };
    let code = runtime.block_on(async {
        let grace = config.shutdown.grace.get();
        let running = match broker::start(config, file).await {
            Ok(running) => running,
            Err(error) => return fail(&error.to_string()),
        };
        // Before anybody is told that we serve: a signal without a handler would end the process.
        let Some(signals) = Signals::listen() else {
            return fail("no signal handlers");
        };
        let supervisor = Supervisor::from_environment();
        if let Err(error) = announce(&running, port_file) {
            return fail(&format!("the port file cannot be written: {error}"));
        }
        supervisor.ready();
        when_ready(&running);
        eprintln!("wardgate ready{}", ports(&running));
        let code = until_stopped(&running, port_file, &supervisor, signals).await;
        supervisor.stopping();
        running.stop(grace).await;
        code
    });
    // Tasks that still hold a client are not waited for: the grace is over.
    runtime.shutdown_background();
    code
}

fn ports(running: &Running) -> String {
    running
        .addresses()
        .iter()
        .map(|(name, address)| format!(" {name}={address}"))
        .collect()
}

fn announce(running: &Running, port_file: Option<&Path>) -> std::io::Result<()> {
    let Some(path) = port_file else { return Ok(()) };
    let addresses = running.addresses();
    let ports: BTreeMap<&str, u16> = addresses
        .iter()
        .map(|(name, address)| (name.as_str(), address.port()))
        .collect();
    let text = serde_json::to_string(&ports)?;
    // Whole or not at all: whoever waits for the file may read it at once.
    let unfinished = path.with_extension("part");
    std::fs::write(&unfinished, text)?;
    std::fs::rename(&unfinished, path)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Option<Self> {
        Some(Self {
            terminate: signal(SignalKind::terminate()).ok()?,
            interrupt: signal(SignalKind::interrupt()).ok()?,
            hangup: signal(SignalKind::hangup()).ok()?,
        })
    }
}

async fn until_stopped(
    running: &Running,
    port_file: Option<&Path>,
    supervisor: &Supervisor,
    mut signals: Signals,
) -> ExitCode {
    loop {
        tokio::select! {
            () = received(&mut signals.terminate) => return ExitCode::SUCCESS,
            () = received(&mut signals.interrupt) => return ExitCode::SUCCESS,
            () = received(&mut signals.hangup) => {
                supervisor.reloading();
                reload(running).await;
                // Listeners may have come, moved or gone.
                if let Err(error) = announce(running, port_file) {
                    tracing::error!(%error, "the port file cannot be written");
                }
                supervisor.ready();
            }
        }
    }
}

async fn received(signal: &mut Signal) {
    signal.recv().await;
}

/// All or nothing: a file that is wrong changes nothing and says where it is wrong.
async fn reload(running: &Running) {
    match running.reload().await {
        Ok(()) => tracing::info!("reloaded"),
        Err(problems) => problems
            .iter()
            .for_each(|problem| tracing::error!(%problem, "not reloaded")),
    }
}

pub(super) fn refuse(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        eprintln!("{problem}");
    }
    ExitCode::FAILURE
}

fn fail(message: &str) -> ExitCode {
    eprintln!("wardgate: {message}");
    ExitCode::FAILURE
}
