//! The admin listener: HTTPS for operators. Contract section 7.
//!
//! A request goes `server` (TLS, bounds) → `route` (which verb, what it demands) → `identify` (who calls) → a handler, which
//! asks the [`Node`]. A route cannot be written without what it demands, and a handler cannot be called without it (ADM-1).

mod answer;
mod audit;
mod bans;
mod call;
mod clients;
pub mod config;
mod denials;
mod est;
mod explain;
mod identify;
mod login;
mod logins;
mod node;
mod openapi;
mod problem;
mod route;
mod routes;
mod server;
mod status;
mod store;
mod tokens;

pub use self::config::{AdminConfig, EstConfig};
pub use self::denials::{Denial, Denials};
pub use self::node::{
    ClientDetail, ClientQuery, ClientSummary, Export, Node, Pending, Status, SubscriptionSummary,
};
pub use self::server::Server;
pub use self::tokens::{TokenError, Tokens};

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
