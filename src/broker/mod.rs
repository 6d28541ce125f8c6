//! The running broker: listeners, connections, and what steers them.

mod actions;
mod arrival;
mod bans;
mod connection;
mod desk;
mod directory_round;
mod directory_watch;
mod doors;
mod exchange;
mod gatekeeper;
mod good_logins;
mod kept;
mod listening;
mod node;
mod office;
mod panics;
mod pulse;
mod reauthentication;
mod rules_watch;
mod running;
mod shed;
mod start;
mod sys;
mod turn;
mod watch;
mod withheld;
mod worker;

pub use self::bans::restore_bans;
pub use self::good_logins::limits_as_kept;
pub use self::node::Node;
pub use self::running::Running;
pub use self::start::{StartError, start};
