//! `wardgate user`: the password file at the command line.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::password::{PasswordSource, new_password};
use crate::identity::io::lock_users_file;
use crate::identity::io::stored_password::{self, NewPassword};
use crate::identity::password_hash::StoredHash;
use crate::identity::{Role, UserEntry, UsersDocument, check_username};
use crate::pki::files;
use crate::problem::Problem;

/// Add, change and remove users of the password file.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wardgate user add --file users.yaml --group staff alice\n  wardgate user import --file users.yaml --from-mosquitto passwd"
)]
pub struct UserArgs {
    /// The password file
    #[arg(
        long,
        global = true,
        value_name = "users.yaml",
        default_value = "users.yaml"
    )]
    file: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a user; the file is made when it is not there
    #[command(
        after_help = "Example:\n  wardgate user add --file users.yaml --group staff --role operator alice"
    )]
    Add {
        name: String,
        /// A group that policies ask for; may be given several times
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// What the user may do in the admin API
        #[arg(long)]
        role: Option<Role>,
        #[command(flatten)]
        password: PasswordSource,
        /// Keep an argon2id hash alone, which is harder to guess at: no SCRAM logins
        #[arg(long)]
        no_scram: bool,
    },
    /// Change a password
    #[command(after_help = "Example:\n  wardgate user passwd --file users.yaml alice")]
    Passwd {
        name: String,
        #[command(flatten)]
        password: PasswordSource,
        /// Keep an argon2id hash alone, which is harder to guess at: no SCRAM logins
        #[arg(long)]
        no_scram: bool,
    },
    /// Remove a user; live sessions end
    #[command(after_help = "Example:\n  wardgate user remove --file users.yaml alice")]
    Remove { name: String },
    /// Refuse a user without forgetting him; live sessions end
    #[command(after_help = "Example:\n  wardgate user disable --file users.yaml alice")]
    Disable { name: String },
    /// Let a disabled user in again
    #[command(after_help = "Example:\n  wardgate user enable --file users.yaml alice")]
    Enable { name: String },
    /// Show the users, without their hashes
    #[command(after_help = "Example:\n  wardgate user list --file users.yaml --json")]
    List {
        #[arg(long)]
        json: bool,
    },
    /// Take over users of another broker, with their hashes
    #[command(
        after_help = "Example:\n  wardgate user import --file users.yaml --from-mosquitto /etc/mosquitto/passwd"
    )]
    Import {
        /// A password file of mosquitto_passwd
        #[arg(long, value_name = "PASSWD")]
        from_mosquitto: PathBuf,
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
    },
}

#[derive(Debug, thiserror::Error)]
enum UserError {
    #[error("{0}")]
    Refused(String),
    #[error("{}", lines(.0))]
    Problems(Vec<Problem>),
    #[error("{}: {source}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

pub fn run(args: &UserArgs) -> ExitCode {
    match execute(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wardgate user: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(args: &UserArgs) -> Result<(), UserError> {
    let file = &args.file;
    // A running server may be about to write the file too.
    let _lock = lock_users_file(file).map_err(|source| UserError::File {
        path: file.clone(),
        source,
    })?;
    match &args.command {
        Command::Add {
            name,
            groups,
            role,
            password,
            no_scram,
        } => {
            check_names(name, groups)?;
            let mut document = read(file, true)?;
            if document.users.contains_key(name) {
                return Err(refused(
                    name,
                    "exists already; `wardgate user passwd` changes the password",
                ));
            }
            let mut entry = UserEntry {
                groups: groups.clone(),
                role: *role,
                ..UserEntry::default()
            };
            derived(password, *no_scram)?.set(&mut entry);
            document.users.insert(name.clone(), entry);
            write(file, document)?;
            say(&format!("added {name}"));
            Ok(())
        }
        Command::Passwd {
            name,
            password,
            no_scram,
        } => {
            // Asked for first: nobody types a password for a user who does not exist.
            change(file, name, |_| Ok(()), false)?;
            let password = derived(password, *no_scram)?;
            change(
                file,
                name,
                |entry| {
                    password.set(entry);
                    Ok(())
                },
                true,
            )?;
            say(&format!("changed the password of {name}"));
            Ok(())
        }
        Command::Remove { name } => {
            let mut document = read(file, false)?;
            if document.users.remove(name).is_none() {
                return Err(refused(name, "is not in the file"));
            }
            write(file, document)?;
            say(&format!("removed {name}"));
            Ok(())
        }
        Command::Disable { name } => {
            change(
                file,
                name,
                |entry| {
                    entry.disabled = true;
                    Ok(())
                },
                true,
            )?;
            say(&format!("disabled {name}"));
            Ok(())
        }
        Command::Enable { name } => {
            change(
                file,
                name,
                |entry| {
                    entry.disabled = false;
                    Ok(())
                },
                true,
            )?;
            say(&format!("enabled {name}"));
            Ok(())
        }
        Command::List { json } => list(&read(file, false)?, *json),
        Command::Import {
            from_mosquitto,
            groups,
        } => import(file, from_mosquitto, groups),
    }
}

fn change(
    file: &Path,
    name: &str,
    change: impl FnOnce(&mut UserEntry) -> Result<(), UserError>,
    store: bool,
) -> Result<(), UserError> {
    let mut document = read(file, false)?;
    let entry = document
        .users
        .get_mut(name)
        .ok_or_else(|| refused(name, "is not in the file"))?;
    change(entry)?;
    if store { write(file, document) } else { Ok(()) }
}

/// Each line `name:hash`; all of them or none. mosquitto_passwd(1)
fn import(file: &Path, source: &Path, groups: &[String]) -> Result<(), UserError> {
    for group in groups {
        check_username(group).map_err(|reason| refused(group, reason))?;
    }
    let text = std::fs::read_to_string(source).map_err(|error| UserError::File {
        path: source.to_owned(),
        source: error,
    })?;
    let mut document = read(file, true)?;
    let mut problems = Vec::new();
    let mut count = 0usize;
    for (line, number) in text.lines().zip(1u64..) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match imported(line, &document) {
            Ok((name, hash)) => {
                let entry = UserEntry {
                    hash,
                    groups: groups.to_vec(),
                    ..UserEntry::default()
                };
                document.users.insert(name, entry);
                count = count.saturating_add(1);
            }
            Err(reason) => problems.push(Problem::new(source, number, 1, reason)),
        }
    }
    if !problems.is_empty() {
        return Err(UserError::Problems(problems));
    }
    write(file, document)?;
    say(&format!("imported {count} users"));
    Ok(())
}

fn imported(line: &str, document: &UsersDocument) -> Result<(String, String), String> {
    let (name, hash) = line.split_once(':').ok_or("not a line `name:hash`")?;
    check_username(name)?;
    if !hash.starts_with('$') {
        return Err("the password is not hashed: run `mosquitto_passwd -U` first".to_owned());
    }
    StoredHash::parse(hash).map_err(|error| error.to_string())?;
    if document.users.contains_key(name) {
        return Err(format!("user {name:?} exists already"));
    }
    Ok((name.to_owned(), hash.to_owned()))
}

fn list(document: &UsersDocument, json: bool) -> Result<(), UserError> {
    if json {
        let rows: Vec<_> = document
            .users
            .iter()
            .map(|(name, entry)| {
                serde_json::json!({
                    "name": name,
                    "groups": entry.groups,
                    "role": entry.role,
                    "disabled": entry.disabled,
                })
            })
            .collect();
        say(&format!("{:#}", serde_json::Value::Array(rows)));
        return Ok(());
    }
    let width = document
        .users
        .keys()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0)
        .max(4);
    say(&format!(
        "{:width$}  {:8}  {:8}  GROUPS",
        "NAME", "STATE", "ROLE"
    ));
    for (name, entry) in &document.users {
        let state = if entry.disabled {
            "disabled"
        } else {
            "enabled"
        };
        let role = entry.role.map_or("-", Role::name);
        say(&format!(
            "{name:width$}  {state:8}  {role:8}  {}",
            entry.groups.join(", ")
        ));
    }
    Ok(())
}

fn check_names(name: &str, groups: &[String]) -> Result<(), UserError> {
    for name in groups.iter().chain([&name.to_owned()]) {
        check_username(name).map_err(|reason| refused(name, reason))?;
    }
    Ok(())
}

fn derived(source: &PasswordSource, no_scram: bool) -> Result<NewPassword, UserError> {
    let password = new_password(source).map_err(|error| UserError::Refused(error.to_string()))?;
    NewPassword::derive(&password, !no_scram).map_err(|error| UserError::Refused(error.to_string()))
}

fn read(file: &Path, may_be_missing: bool) -> Result<UsersDocument, UserError> {
    match std::fs::read_to_string(file) {
        Ok(text) => UsersDocument::parse(file, &text).map_err(UserError::Problems),
        Err(error) if may_be_missing && error.kind() == std::io::ErrorKind::NotFound => {
            Ok(UsersDocument::default())
        }
        Err(source) => Err(UserError::File {
            path: file.to_owned(),
            source,
        }),
    }
}

fn write(file: &Path, mut document: UsersDocument) -> Result<(), UserError> {
    stored_password::complete(&mut document)
        .map_err(|error| UserError::Refused(error.to_string()))?;
    let text = document.to_text(file).map_err(UserError::Problems)?;
    files::rewrite(file, text.as_bytes()).map_err(|source| UserError::File {
        path: file.to_owned(),
        source,
    })
}

fn refused(name: &str, reason: &str) -> UserError {
    UserError::Refused(format!("user {name:?}: {reason}"))
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

/// A reader that went away is no error of ours.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
