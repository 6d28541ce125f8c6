//! `wardgate ctl`: a running node's admin API at the command line.

pub(super) mod https;
mod table;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use hyper::{Method, Uri};
use serde_json::{Value, json};

use self::https::{Access, Api, ApiError, encoded};
use crate::admin::{TokenError, Tokens};
use crate::config::Config;
use crate::identity::Role;
use crate::limits::{BanSubject, NotABanSubject};
use crate::problem::Problem;
use crate::units::Period;

/// Ask and steer a running node
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wardgate ctl status --token-file token --ca wardgate-data/devices/ca.pem\n  wardgate ctl ban ip:203.0.113.0/24 --duration 1h --reason abuse --token-file token"
)]
pub struct CtlArgs {
    /// The admin listener
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "https://localhost:18083"
    )]
    url: Uri,
    #[command(flatten)]
    access: Access,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How the node is
    #[command(after_help = "Example:\n  wardgate ctl status --effective --json")]
    Status {
        /// With the settings in force, secrets redacted
        #[arg(long)]
        effective: bool,
    },
    /// Clients, connected or not
    #[command(after_help = "Example:\n  wardgate ctl clients --prefix pump-")]
    Clients {
        /// Only client identifiers that begin so
        #[arg(long, default_value = "")]
        prefix: String,
        /// At most so many
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// One client
    #[command(after_help = "Example:\n  wardgate ctl client pump-7")]
    Client { id: String },
    /// Disconnect a client
    #[command(after_help = "Example:\n  wardgate ctl kick pump-7")]
    Kick { id: String },
    /// Ban an address, a range, a user or a client, and disconnect whom it concerns
    #[command(
        after_help = "Example:\n  wardgate ctl ban username:mallory --duration 1d --reason \"guesses passwords\""
    )]
    Ban {
        /// ip:ADDRESS, ip:RANGE, username:NAME or client_id:NAME
        subject: BanSubject,
        /// For how long; without it, until it is lifted
        #[arg(long)]
        duration: Option<Period>,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Lift a ban
    #[command(after_help = "Example:\n  wardgate ctl unban ip:192.0.2.7")]
    Unban { subject: BanSubject },
    /// Logins by cookie, of the console and of browsers
    #[command(after_help = "Example:\n  wardgate ctl logins --username alice")]
    Logins {
        #[arg(long)]
        username: Option<String>,
    },
    /// End a login, with its live connections
    #[command(after_help = "Example:\n  wardgate ctl logout 0123456789abcdef0123456789abcdef")]
    Logout {
        /// As `ctl logins` shows it
        name: String,
    },
    /// Bans in force
    #[command(after_help = "Example:\n  wardgate ctl bans --token-file token")]
    Bans,
    /// The last refusals of policies
    #[command(after_help = "Example:\n  wardgate ctl denials --client-id pump-7")]
    Denials {
        #[arg(long)]
        client_id: Option<String>,
    },
    /// Why a refusal was decided so, by its decision id, or what a client may do now
    #[command(
        after_help = "Examples:\n  wardgate ctl explain 0123456789abcdef\n  wardgate ctl explain --client pump-7 --publish telemetry/pump-7/pressure --qos 1"
    )]
    Explain(ExplainArgs),
    /// Read the configuration, policies, users and certificates again: all or nothing
    #[command(after_help = "Example:\n  wardgate ctl reload --token-file token")]
    Reload,
    /// Numbers, as Prometheus reads them
    #[command(after_help = "Example:\n  wardgate ctl stats --token-file token")]
    Stats,
    /// API tokens
    #[command(
        subcommand,
        after_help = "Example:\n  wardgate ctl token new --scope viewer --config wardgate.yaml > token"
    )]
    Token(TokenCommand),
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// A refusal, by its decision id
    #[arg(required_unless_present_any = ["client", "named"], conflicts_with = "client")]
    decision: Option<String>,
    /// The same, as `wardgate policy explain` takes it
    #[arg(long = "decision", value_name = "ID", conflicts_with_all = ["client", "decision"])]
    named: Option<String>,
    /// A client or offline session, by its client identifier
    #[arg(long, value_name = "ID", requires = "asked")]
    client: Option<String>,
    /// Whether it may publish to this topic name
    #[arg(long, value_name = "TOPIC", group = "asked", requires = "client")]
    publish: Option<String>,
    /// Whether it may subscribe to this topic filter
    #[arg(long, value_name = "FILTER", group = "asked", requires = "client")]
    subscribe: Option<String>,
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// With the RETAIN flag
    #[arg(long)]
    retain: bool,
}

impl ExplainArgs {
    fn question(&self) -> Value {
        let Some(client) = &self.client else {
            let decision = self.decision.as_ref().or(self.named.as_ref());
            return json!({ "decision": decision });
        };
        let (action, topic) = match &self.subscribe {
            Some(filter) => ("subscribe", Some(filter)),
            None => ("publish", self.publish.as_ref()),
        };
        json!({ "client": client, "action": action, "topic": topic, "qos": self.qos, "retain": self.retain })
    }
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token and print it once, as the last word
    #[command(
        after_help = "Example:\n  wardgate ctl token new --scope viewer --days 90 --config wardgate.yaml > token"
    )]
    New {
        /// What it may do
        #[arg(long)]
        scope: Role,
        /// How long it is good for; without it, until it is removed
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        days: Option<u16>,
        /// Write it beside this configuration's data, without asking a node
        #[arg(long, value_name = "wardgate.yaml")]
        config: Option<PathBuf>,
    },
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Api(#[from] ApiError),
    #[error("{0}")]
    Token(#[from] TokenError),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Config(Vec<Problem>),
    #[error("{0}")]
    Runtime(#[from] std::io::Error),
    #[error("{0}")]
    Subject(#[from] NotABanSubject),
}

pub fn run(arguments: CtlArgs) -> ExitCode {
    match answer(arguments) {
        Ok(text) => {
            // A reader that went away is no failure.
            let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let _ = writeln!(std::io::stderr().lock(), "{failure}");
            ExitCode::FAILURE
        }
    }
}

fn answer(arguments: CtlArgs) -> Result<String, Failure> {
    let CtlArgs {
        url,
        access,
        json,
        command,
    } = arguments;
    if let Command::Token(TokenCommand::New {
        scope,
        days,
        config: Some(config),
    }) = &command
    {
        return new_token(config, *scope, *days);
    }
    let api = access.api(url);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let value = runtime.block_on(command.ask(&api))?;
    Ok(if json {
        format!("{value:#}")
    } else {
        command.show(&value)
    })
}

/// Written where the node looks: a running one takes it at the next request.
fn new_token(config: &Path, scope: Role, days: Option<u16>) -> Result<String, Failure> {
    let config = Config::load(config, std::env::vars_os()).map_err(Failure::Config)?;
    let lifetime = days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
    let token = Tokens::in_folder(&config.data_dir).create(scope, lifetime, SystemTime::now())?;
    Ok(token_line(scope, days, &token))
}

fn token_line(scope: Role, days: Option<u16>, token: &str) -> String {
    let lifetime = days.map_or_else(
        || "until it is removed".into(),
        |days| format!("for {days} days"),
    );
    format!(
        "token with scope {}, good {lifetime}, shown only now: {token}",
        scope.name()
    )
}

impl Command {
    async fn ask(&self, api: &Api) -> Result<Value, ApiError> {
        let get = |path: String| async move { api.ask(Method::GET, &path, None).await };
        match self {
            Self::Status { effective } => {
                get(format!("/api/v1/status?effective={effective}")).await
            }
            Self::Clients { prefix, limit } => clients(api, prefix, *limit).await,
            Self::Client { id } => get(format!("/api/v1/clients/{}", encoded(id))).await,
            Self::Kick { id } => {
                api.ask(
                    Method::DELETE,
                    &format!("/api/v1/clients/{}", encoded(id)),
                    None,
                )
                .await
            }
            Self::Ban {
                subject,
                duration,
                reason,
            } => {
                api.ask(
                    Method::POST,
                    "/api/v1/bans",
                    Some(&ban(subject, *duration, reason)),
                )
                .await
            }
            Self::Unban { subject } => {
                api.ask(
                    Method::DELETE,
                    &format!("/api/v1/bans/{}", encoded(&subject.to_string())),
                    None,
                )
                .await
            }
            Self::Logins { username } => {
                let of = username
                    .as_ref()
                    .map_or_else(String::new, |name| format!("&username={}", encoded(name)));
                get(format!("/api/v1/logins?limit=1000{of}")).await
            }
            Self::Logout { name } => {
                let path = format!("/api/v1/logins/{}", encoded(name));
                api.ask(Method::DELETE, &path, None).await
            }
            Self::Bans => get("/api/v1/bans".into()).await,
            Self::Denials { client_id } => {
                let of = client_id
                    .as_ref()
                    .map_or_else(String::new, |id| format!("?client_id={}", encoded(id)));
                get(format!("/api/v1/denials{of}")).await
            }
            Self::Explain(args) => {
                let path = "/api/v1/policy/explain";
                api.ask(Method::POST, path, Some(&args.question())).await
            }
            Self::Reload => api.ask(Method::POST, "/api/v1/reload", None).await,
            Self::Stats => api.ask_text("/metrics").await.map(Value::String),
            Self::Token(TokenCommand::New {
                scope,
                days,
                config: _,
            }) => {
                let body = json!({ "scope": scope, "days": days });
                api.ask(Method::POST, "/api/v1/tokens", Some(&body)).await
            }
        }
    }

    fn show(&self, value: &Value) -> String {
        match self {
            Self::Clients { .. } => table::rows(
                value,
                "clients",
                &[
                    "client_id",
                    "username",
                    "auth",
                    "ip",
                    "connected",
                    "queued_messages",
                ],
            ),
            Self::Logins { .. } => table::rows(
                value,
                "logins",
                &[
                    "name",
                    "username",
                    "namespace",
                    "ip",
                    "begun",
                    "used",
                    "until",
                ],
            ),
            Self::Logout { name } => format!("login {name} has ended"),
            Self::Bans => table::rows(
                value,
                "bans",
                &[
                    "ip",
                    "username",
                    "client_id",
                    "owner",
                    "method",
                    "until",
                    "by",
                    "reason",
                ],
            ),
            Self::Denials { .. } => table::rows(
                value,
                "denials",
                &[
                    "time",
                    "decision",
                    "client_id",
                    "username",
                    "ip",
                    "action",
                    "topic",
                    "rule",
                    "reason",
                    "suggestion",
                ],
            ),
            Self::Kick { id } => format!("{id:?} is disconnected"),
            Self::Unban { subject } => format!("{subject} is no longer banned"),
            Self::Reload => "reloaded".into(),
            Self::Stats => value.as_str().unwrap_or_default().to_owned(),
            Self::Token(TokenCommand::New { scope, days, .. }) => token_line(
                *scope,
                *days,
                value
                    .get("token")
                    .and_then(Value::as_str)
                    .unwrap_or_default(),
            ),
            Self::Status { .. } | Self::Client { .. } | Self::Ban { .. } | Self::Explain(_) => {
                table::members(value)
            }
        }
    }
}

/// Page by page, until there are enough or no more.
async fn clients(api: &Api, prefix: &str, limit: usize) -> Result<Value, ApiError> {
    let mut all: Vec<Value> = Vec::new();
    let mut after = String::new();
    while all.len() < limit {
        let page = limit.saturating_sub(all.len()).min(1000);
        let path = format!(
            "/api/v1/clients?limit={page}&prefix={}&after={}",
            encoded(prefix),
            encoded(&after)
        );
        let mut answer = api.ask(Method::GET, &path, None).await?;
        if let Some(Value::Array(clients)) = answer.get_mut("clients").map(Value::take) {
            all.extend(clients);
        }
        match answer.get("next").and_then(Value::as_str) {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    Ok(json!({ "clients": all }))
}

fn ban(subject: &BanSubject, duration: Option<Period>, reason: &str) -> Value {
    // `{"ip": …}`, `{"username": …}` or `{"client_id": …}`
    let mut body = json!(subject);
    if let Some(members) = body.as_object_mut() {
        members.insert("reason".into(), reason.into());
        if let Some(duration) = duration {
            members.insert("duration".into(), duration.to_string().into());
        }
    }
    body
}
