//! redb against fjall on the write pattern of a broker's queues: `engines DIR` prints a table.
#![forbid(unsafe_code)]

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Messages in one commit: ten publishers with a window of 64.
const COMMIT: u64 = 640;
const SESSIONS: u64 = 10;
/// How many commits a message stays.
const LAG: u64 = 100;
/// Header, topic and 64 bytes of payload.
const ROW: [u8; 128] = [0x5a; 128];
const CACHE: usize = 64 * 1024 * 1024;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [folder] => all(Path::new(folder)),
        ["fill", engine, folder, rows] => {
            let mut engine = open(engine, Path::new(folder))?;
            fill(engine.as_mut(), rows.parse()?)?;
            // As kill -9: nothing is closed or flushed.
            std::process::abort()
        }
        ["recover", engine, folder] => recover(engine, Path::new(folder)),
        ["steady", engine, folder, messages] => steady(engine, Path::new(folder), messages.parse()?),
        _ => Err("engines DIR".into()),
    }
}

fn all(folder: &Path) -> Outcome {
    for engine in ["redb", "fjall"] {
        let place = folder.join(engine);
        std::fs::create_dir_all(&place)?;
        let text = place.to_string_lossy().into_owned();
        let myself = std::env::current_exe()?;
        Command::new(&myself)
            .args(["steady", engine, &text, "3000000"])
            .status()?;
        std::fs::remove_dir_all(&place)?;
        std::fs::create_dir_all(&place)?;
        Command::new(&myself)
            .args(["fill", engine, &text, "1000000"])
            .status()?;
        Command::new(&myself)
            .args(["recover", engine, &text])
            .status()?;
        std::fs::remove_dir_all(&place)?;
    }
    Ok(())
}

/// One commit, on disk when it returns.
trait Engine {
    fn commit(&mut self, insert: &[[u8; 16]], remove: &[[u8; 16]]) -> Outcome;
    fn rows(&self) -> Outcome<u64>;
}

fn open(engine: &str, folder: &Path) -> Outcome<Box<dyn Engine>> {
    Ok(match engine {
        "redb" => Box::new(Redb(
            redb::Builder::new()
                .set_cache_size(CACHE)
                .create(folder.join("queue.redb"))?,
        )),
        "fjall" => {
            let database = fjall::Database::builder(folder)
                .cache_size(CACHE as u64)
                .open()?;
            let queue = database.keyspace("queue", fjall::KeyspaceCreateOptions::default)?;
            Box::new(Fjall { database, queue })
        }
        other => return Err(format!("no engine {other}").into()),
    })
}

struct Redb(redb::Database);

const QUEUE: redb::TableDefinition<&[u8; 16], &[u8]> = redb::TableDefinition::new("queue");

impl Engine for Redb {
    fn commit(&mut self, insert: &[[u8; 16]], remove: &[[u8; 16]]) -> Outcome {
        let transaction = self.0.begin_write()?;
        {
            let mut table = transaction.open_table(QUEUE)?;
            for key in insert {
                table.insert(key, ROW.as_slice())?;
            }
            for key in remove {
                table.remove(key)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn rows(&self) -> Outcome<u64> {
        use redb::{ReadableDatabase, ReadableTable};
        let table = self.0.begin_read()?.open_table(QUEUE)?;
        let mut rows = 0;
        for row in table.iter()? {
            let (_, value) = row?;
            rows += u64::from(value.value().len() == ROW.len());
        }
        Ok(rows)
    }
}

struct Fjall {
    database: fjall::Database,
    queue: fjall::Keyspace,
}

impl Engine for Fjall {
    fn commit(&mut self, insert: &[[u8; 16]], remove: &[[u8; 16]]) -> Outcome {
        let mut batch = self
            .database
            .batch()
            .durability(Some(fjall::PersistMode::SyncData));
        for key in insert {
            batch.insert(&self.queue, key.as_slice(), ROW.as_slice());
        }
        for key in remove {
            batch.remove(&self.queue, key.as_slice());
        }
        batch.commit()?;
        Ok(())
    }

    fn rows(&self) -> Outcome<u64> {
        let mut rows = 0;
        for row in self.queue.iter() {
            rows += u64::from(row.value()?.len() == ROW.len());
        }
        Ok(rows)
    }
}

fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&(number % SESSIONS).to_be_bytes());
    key[8..].copy_from_slice(&(number / SESSIONS).to_be_bytes());
    key
}

fn fill(engine: &mut dyn Engine, rows: u64) -> Outcome {
    for commit in 0..rows / COMMIT {
        let keys: Vec<_> = (commit * COMMIT..(commit + 1) * COMMIT).map(key).collect();
        engine.commit(&keys, &[])?;
    }
    Ok(())
}

fn recover(name: &str, folder: &Path) -> Outcome {
    let bytes = folder_bytes(folder)?;
    let started = Instant::now();
    let engine = open(name, folder)?;
    let opened = started.elapsed();
    let rows = engine.rows()?;
    println!(
        "{name}: {rows} rows after kill -9: opened in {opened:.2?}, all read in {:.2?}, folder {} MiB, memory {} MiB",
        started.elapsed() - opened,
        bytes >> 20,
        resident()? >> 20,
    );
    Ok(())
}

/// Fills and drains at once: what came 100 commits ago goes.
fn steady(name: &str, folder: &Path, messages: u64) -> Outcome {
    let mut engine = open(name, folder)?;
    let (started, cpu) = (Instant::now(), processor_time()?);
    let mut largest = 0;
    let mut slowest = Duration::ZERO;
    for commit in 0..messages / COMMIT {
        let began = Instant::now();
        let insert: Vec<_> = (commit * COMMIT..(commit + 1) * COMMIT).map(key).collect();
        let remove: Vec<_> = match commit.checked_sub(LAG) {
            Some(old) => (old * COMMIT..(old + 1) * COMMIT).map(key).collect(),
            None => Vec::new(),
        };
        engine.commit(&insert, &remove)?;
        slowest = slowest.max(began.elapsed());
        if commit % 256 == 0 {
            largest = largest.max(folder_bytes(folder)?);
        }
    }
    let (took, cpu) = (started.elapsed(), processor_time()? - cpu);
    println!(
        "{name}: {messages} messages: {:.2} µs each, {:.2} µs of CPU, slowest commit {slowest:.2?}, folder at most {} MiB, at the end {} MiB, memory {} MiB",
        took.as_secs_f64() * 1e6 / messages as f64,
        cpu.as_secs_f64() * 1e6 / messages as f64,
        largest >> 20,
        folder_bytes(folder)? >> 20,
        resident()? >> 20,
    );
    Ok(())
}

fn folder_bytes(folder: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        bytes += if metadata.is_dir() {
            folder_bytes(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}

fn processor_time() -> Outcome<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

fn resident() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}
