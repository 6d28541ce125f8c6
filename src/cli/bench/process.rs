//! What a process used, by /proc: CPU time and resident memory.

use super::super::client_arguments::Failure;
use std::fs;
use std::time::Duration;

/// Linux tells CPU times in hundredths of a second, whatever its own tick is (`sysconf(_SC_CLK_TCK)`).
const TICK: Duration = Duration::from_millis(10);

/// User and system time of all threads, finished ones included.
pub(super) fn cpu_time(process: &str) -> Result<Duration, Failure> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
    parse_stat(&stat).ok_or_else(|| Failure::Other(format!("{path}: no CPU times in it")))
}

/// Resident bytes.
pub(super) fn resident(process: &str) -> Result<u64, Failure> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
    parse_status(&status).ok_or_else(|| Failure::Other(format!("{path}: no VmRSS in it")))
}

/// Fields 14 and 15, counted after the command's name, which may hold blanks and brackets.
fn parse_stat(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11);
    let user: u32 = times.next()?.parse().ok()?;
    let system: u32 = times.next()?.parse().ok()?;
    Some(TICK * user.saturating_add(system))
}

fn parse_status(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn unreadable(path: &str, error: &std::io::Error) -> Failure {
    Failure::Other(format!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_a_hostile_name() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        let rows = [
            (
                format!("7 (mosquitto) {fields}"),
                Some(Duration::from_secs(2)),
            ),
            (
                format!("7 (a) b (c) {fields}"),
                Some(Duration::from_secs(2)),
            ),
            ("7 (short) S 1".to_owned(), None),
            (String::new(), None),
        ];
        for (stat, expected) in rows {
            assert_eq!(parse_stat(&stat), expected, "{stat:?}");
        }
    }

    #[test]
    fn status_tells_resident_bytes() {
        assert_eq!(parse_status("Name:\tx\nVmRSS:\t    12 kB\n"), Some(12_288));
        assert_eq!(parse_status("Name:\tx\n"), None);
    }
}
