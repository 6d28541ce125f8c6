//! Under construction.
pub mod ca;
mod password;
pub mod policy;
pub mod user;

pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
