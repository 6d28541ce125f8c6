//! `wardgate store`: what is kept, looked at, mended, saved and brought back.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, Args, Subcommand};
use hyper::Uri;

use super::ctl::https::{Access, ApiError};
use crate::config::Config;
use crate::problem::Problem;
use crate::store::upkeep::{self, Contents, UpkeepError};

/// Check, repair, export and import what the broker keeps; only `export --url` while it runs
#[derive(Args)]
#[command(
    after_help = "Example:\n  wardgate store check --config wardgate.yaml\n  wardgate store export backup.wardgate --url https://localhost:18083 --token-file token\n  wardgate store import backup.wardgate --path data/store"
)]
pub struct StoreArgs {
    /// The configuration that names the folder
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "wardgate.yaml"
    )]
    config: PathBuf,
    /// The folder itself, instead of a configuration
    #[arg(long, global = true, value_name = "DIR")]
    path: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Verify every page and every record; changes nothing
    #[command(after_help = "Example:\n  wardgate store check --config wardgate.yaml")]
    Check,
    /// Make a store of all that can be read, tell what cannot, and keep the damaged file beside it
    #[command(after_help = "Example:\n  wardgate store repair --config wardgate.yaml")]
    Repair,
    /// Write all of it into one portable file that did not exist
    #[command(
        after_help = "Example, of a folder that nobody uses:\n  wardgate store export backup.wardgate --path data/store\nExample, of a running node:\n  wardgate store export backup.wardgate --url https://localhost:18083 --token-file token --ca wardgate-data/devices/ca.pem",
        group = ArgGroup::new("of a node").args(["token_file", "ca", "cert", "key"]).multiple(true).requires("url")
    )]
    Export {
        file: PathBuf,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Make a store of an export, in an empty folder
    #[command(after_help = "Example:\n  wardgate store import backup.wardgate --path data/store")]
    Import { file: PathBuf },
}

/// A running node, and what proves who asks: an admin
#[derive(Args)]
struct NodeArgs {
    /// The admin listener of a running node, instead of a folder
    #[arg(long, value_name = "URL", conflicts_with = "path")]
    url: Option<Uri>,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Config(Vec<Problem>),
    #[error("{0}")]
    Upkeep(#[from] UpkeepError),
    #[error("{0}")]
    Api(#[from] ApiError),
    #[error("{}: {source}", file.display())]
    File {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
}

pub fn run(arguments: &StoreArgs) -> ExitCode {
    let shown = match answer(arguments) {
        Ok(text) => io::stdout().write_all(text.as_bytes()),
        Err(error) => {
            eprintln!("wardgate store: {error}");
            return ExitCode::FAILURE;
        }
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wardgate store: {error}");
            ExitCode::FAILURE
        }
    }
}

fn answer(arguments: &StoreArgs) -> Result<String, Failure> {
    let folder = || folder(arguments);
    Ok(match &arguments.command {
        Command::Check => told("whole", upkeep::check(&folder()?)?),
        Command::Repair => repaired_told(&upkeep::repair(&folder()?)?),
        Command::Export { file, node } => match &node.url {
            Some(url) => written(file, |out| node.export(url, out))?,
            None => {
                let path = folder()?;
                written(file, |out| Ok(upkeep::export(&path, out).map(drop)?))?
            }
        },
        Command::Import { file } => {
            let input = File::open(file).map_err(|source| Failure::File {
                file: file.clone(),
                source,
            })?;
            told(
                "imported",
                upkeep::import(&folder()?, BufReader::new(input))?,
            )
        }
    })
}

fn folder(arguments: &StoreArgs) -> Result<PathBuf, Failure> {
    if let Some(path) = &arguments.path {
        return Ok(path.clone());
    }
    let config = Config::load(&arguments.config, std::env::vars_os()).map_err(Failure::Config)?;
    Ok(config.store.path)
}

fn told(state: &str, contents: Contents) -> String {
    let Contents {
        sessions,
        queued,
        retained,
        recovered,
    } = contents;
    let stop = if recovered {
        "; it was not closed in order, and the next start recovers it"
    } else {
        ""
    };
    format!(
        "{state}: {sessions} sessions, {queued} queued messages, {retained} retained messages{stop}\n"
    )
}

fn repaired_told(repaired: &upkeep::Repaired) -> String {
    let Some(before) = &repaired.before else {
        return "nothing is damaged; nothing was changed\n".to_owned();
    };
    let mut text = String::new();
    for line in &repaired.dropped {
        text.push_str(&format!("dropped: {line}\n"));
    }
    text.push_str(&format!(
        "kept: {} records; the damaged file is now {}\n",
        repaired.kept,
        before.display()
    ));
    text
}

/// Readable for its owner only, and never over a file that is there (STO-3). What was written is read again before it is called an export.
fn written(
    file: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> Result<(), Failure>,
) -> Result<String, Failure> {
    let failed = |source| Failure::File {
        file: file.to_owned(),
        source,
    };
    let out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .map_err(failed)?;
    let mut buffered = BufWriter::new(&out);
    let records = write(&mut buffered).and_then(|()| {
        buffered.flush().map_err(failed)?;
        out.sync_all().map_err(failed)?;
        let input = File::open(file).map_err(failed)?;
        Ok(upkeep::verify(BufReader::new(input))?)
    });
    if records.is_err() {
        // Half an export is none.
        std::fs::remove_file(file).map_err(failed)?;
    }
    Ok(format!("{}: {} records\n", file.display(), records?))
}

impl NodeArgs {
    fn export(&self, url: &Uri, out: &mut impl Write) -> Result<(), Failure> {
        let api = self.access.api(url.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ApiError::Output)?;
        Ok(runtime.block_on(api.download("/api/v1/store/export", out))?)
    }
}
