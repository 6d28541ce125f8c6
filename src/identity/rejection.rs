//! Why nobody was identified: the truth for the operator, next to nothing for the peer.

use super::Method;
use super::certificate::CertificateError;
use super::jwt::InvalidToken;
use super::scram::ScramError;
use crate::mqtt::ReasonCode;
use std::time::Duration;

/// The true reason. Usernames are printed escaped; no variant can hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("no credentials were offered")]
    NoCredentials,
    #[error("no authenticator of this listener takes the credentials offered")]
    NobodyAnswered,
    #[error("no user {0:?}")]
    UnknownUser(String),
    #[error("wrong password for {0:?}")]
    WrongPassword(String),
    #[error("user {0:?} is disabled")]
    DisabledUser(String),
    #[error("empty password for {0:?}")]
    EmptyPassword(String),
    #[error("password of {length} bytes for {username:?}: at most {max} are checked")]
    LongPassword {
        username: String,
        length: usize,
        max: usize,
    },
    #[error("certificate: {0}")]
    Certificate(#[from] CertificateError),
    #[error("the certificate names {certificate:?}, CONNECT names {connect:?}")]
    OtherUsername {
        certificate: String,
        connect: String,
    },
    #[error("{first_method} names {first:?}, {second_method} names {second:?}")]
    DifferentUsers {
        first_method: Method,
        first: String,
        second_method: Method,
        second: String,
    },
    #[error("{0:?} has no SCRAM credential: it is made when a password is set")]
    NoScramCredential(String),
    #[error("SCRAM: {0}")]
    Scram(#[from] ScramError),
    #[error("the cookie stands for no login, or for one that has ended")]
    NoLogin,
    #[error("token: {0}")]
    Token(#[from] InvalidToken),
    #[error("the key that verified the token is gone")]
    KeyGone,
    #[error(
        "the key that verified the token is believed no longer: its set could not be fetched for {0:?}"
    )]
    KeyForgotten(Duration),
    /// What was true of a token when it was taken, and is not under the settings of now.
    #[error("token: {0}")]
    TokenNoLonger(&'static str),
    #[error("the directory refuses {username:?}: {reason}")]
    Directory { username: String, reason: String },
    #[error("the credentials are good but name nobody")]
    NamesNobody,
    #[error("too many password checks wait for this address")]
    AddressBusy,
    #[error("too many password checks wait")]
    Busy,
    #[error("the password check did not get its turn in time")]
    Late,
    /// An error of a back end is a refusal, never "not mine" (IDN-1).
    #[error("{method} could not answer: {reason}")]
    BackEnd { method: Method, reason: String },
}

impl Rejection {
    /// All that the peer learns: a wrong name and a wrong password look alike, and so does a disabled user (IDN-12). [MQTT-3.1.4-2]
    pub fn reason_code(&self) -> ReasonCode {
        match self {
            Self::NobodyAnswered
            | Self::UnknownUser(_)
            | Self::WrongPassword(_)
            | Self::DisabledUser(_)
            | Self::EmptyPassword(_)
            | Self::LongPassword { .. }
            | Self::NoScramCredential(_)
            | Self::Scram(_)
            | Self::Directory { .. }
            | Self::Token(_) => ReasonCode::BadUserNameOrPassword,
            Self::NoCredentials
            | Self::NoLogin
            | Self::KeyGone
            | Self::KeyForgotten(_)
            | Self::TokenNoLonger(_)
            | Self::Certificate(_)
            | Self::OtherUsername { .. }
            | Self::DifferentUsers { .. }
            | Self::NamesNobody => ReasonCode::NotAuthorized,
            Self::AddressBusy => ReasonCode::QuotaExceeded,
            Self::Busy | Self::Late => ReasonCode::ServerBusy,
            Self::BackEnd { .. } => ReasonCode::ServerUnavailable,
        }
    }

    /// Whether it counts towards `limits.failures`: a guess does, our own trouble does not.
    pub fn is_failure_of_client(&self) -> bool {
        match self {
            Self::NoCredentials
            | Self::NobodyAnswered
            | Self::UnknownUser(_)
            | Self::WrongPassword(_)
            | Self::DisabledUser(_)
            | Self::EmptyPassword(_)
            | Self::LongPassword { .. }
            | Self::Certificate(_)
            | Self::OtherUsername { .. }
            | Self::DifferentUsers { .. }
            | Self::NoScramCredential(_)
            | Self::Scram(_)
            | Self::Token(_)
            | Self::Directory { .. }
            | Self::NamesNobody => true,
            // Nobody guesses 256 bits: a cookie that has ended is a browser that was away.
            Self::NoLogin
            | Self::KeyGone
            | Self::KeyForgotten(_)
            | Self::TokenNoLonger(_)
            | Self::AddressBusy
            | Self::Busy
            | Self::Late
            | Self::BackEnd { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idn_12_a_wrong_name_and_a_wrong_password_look_alike() {
        let name = || "alice".to_owned();
        let guesses = [
            Rejection::UnknownUser(name()),
            Rejection::WrongPassword(name()),
            Rejection::DisabledUser(name()),
            Rejection::EmptyPassword(name()),
            Rejection::NoScramCredential(name()),
            Rejection::LongPassword {
                username: name(),
                length: 2000,
                max: 1024,
            },
            Rejection::NobodyAnswered,
        ];
        for guess in guesses {
            assert_eq!(
                guess.reason_code(),
                ReasonCode::BadUserNameOrPassword,
                "{guess}"
            );
            assert!(guess.is_failure_of_client(), "{guess}");
        }
    }

    #[test]
    fn names_are_escaped_for_the_log() {
        let reason = Rejection::UnknownUser("a\n\u{1b}[31m\"".to_owned()).to_string();
        assert_eq!(reason, "no user \"a\\n\\u{1b}[31m\\\"\"");
    }
}
