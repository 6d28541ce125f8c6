//! Passwords come from the terminal or from standard input, never from an argument: arguments are seen by everybody on the machine.

use std::io::{IsTerminal, Read};

use clap::Args;

use crate::identity::password_hash::PASSWORD_LENGTH_MAX;
use crate::secret::Secret;

#[derive(Debug, Args)]
pub(super) struct PasswordSource {
    /// Read the password from standard input, up to the first line's end
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum PasswordError {
    #[error("no terminal to ask on: use {0}")]
    NoTerminal(&'static str),
    #[error("the password cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("the two passwords differ")]
    Differ,
    #[error("the password is empty")]
    Empty,
    #[error("the password is longer than {PASSWORD_LENGTH_MAX} bytes")]
    TooLong,
    #[error("the password is more than one line")]
    SeveralLines,
}

const NO_TERMINAL: &str = "--password-stdin";
const NO_FILE: &str = "--passphrase-file";

/// Asked twice on a terminal, read once from standard input.
pub(super) fn new_password(source: &PasswordSource) -> Result<Secret, PasswordError> {
    let password = if source.password_stdin {
        from_stdin(std::io::stdin().lock())?
    } else {
        from_terminal("Password: ", NO_TERMINAL)?
    };
    checked(password)
}

/// For keys that are made. Asked twice.
pub(super) fn new_passphrase() -> Result<Secret, PasswordError> {
    checked(from_terminal("Passphrase for the CA's keys: ", NO_FILE)?)
}

/// Of keys that are there.
pub(super) fn known_passphrase() -> Result<Secret, PasswordError> {
    if !std::io::stdin().is_terminal() {
        return Err(PasswordError::NoTerminal(NO_FILE));
    }
    let given = rpassword::prompt_password("Passphrase of the CA's key: ")?;
    checked(Secret::new(given.into_bytes()))
}

fn checked(password: Secret) -> Result<Secret, PasswordError> {
    if password.is_empty() {
        return Err(PasswordError::Empty);
    }
    if password.expose().len() > PASSWORD_LENGTH_MAX {
        return Err(PasswordError::TooLong);
    }
    Ok(password)
}

fn from_terminal(prompt: &str, instead: &'static str) -> Result<Secret, PasswordError> {
    if !std::io::stdin().is_terminal() {
        return Err(PasswordError::NoTerminal(instead));
    }
    let once = Secret::new(rpassword::prompt_password(prompt)?.into_bytes());
    let twice = Secret::new(rpassword::prompt_password("Again: ")?.into_bytes());
    if !once.matches(twice.expose()) {
        return Err(PasswordError::Differ);
    }
    Ok(once)
}

/// One line, whose end is not part of the password.
fn from_stdin(input: impl Read) -> Result<Secret, PasswordError> {
    let mut bytes = Vec::with_capacity(PASSWORD_LENGTH_MAX + 3);
    let limit = u64::try_from(PASSWORD_LENGTH_MAX + 3).unwrap_or(u64::MAX);
    input.take(limit).read_to_end(&mut bytes)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    let secret = Secret::new(bytes);
    if secret.expose().contains(&b'\n') {
        return Err(PasswordError::SeveralLines);
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_end_is_not_part_of_the_password() {
        let rows: [(&[u8], Option<&[u8]>); 6] = [
            (b"secret", Some(b"secret")),
            (b"secret\n", Some(b"secret")),
            (b"secret\r\n", Some(b"secret")),
            (b" secret \n", Some(b" secret ")),
            (b"", Some(b"")),
            (b"secret\nagain\n", None),
        ];
        for (input, expected) in rows {
            let read = from_stdin(input).ok();
            assert_eq!(read.as_ref().map(Secret::expose), expected, "{input:?}");
        }
    }
}
