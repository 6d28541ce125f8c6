//! A reload beside everybody else's work.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::broker;
use crate::config::Config;
use std::io::Write;
use std::sync::mpsc;
use std::time::Duration;

const CONFIGURATION: &str = "
node: test
data_dir: ./data
listeners: { lab: { bind: '127.0.0.1:0', transport: tcp, authenticate: [anonymous] } }
policies: [open.yaml]
store: { kind: memory }
";

const POLICY: &str =
    "version: 1\npolicies:\n  - { id: open, who: { any: true }, allow: [{ publish: '#' }] }\n";

#[test]
fn while_a_reload_reads_its_files_others_have_their_turn() {
    let name = format!("wardgate-running-{:032x}", rand::random::<u128>());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let (file, policy) = (folder.join("wardgate.yaml"), folder.join("open.yaml"));
    std::fs::write(&policy, POLICY).unwrap();
    std::fs::write(&file, CONFIGURATION).unwrap();
    let config = Config::load(&file, []).unwrap();
    // One thread for everybody: whoever blocks it is noticed.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let running = runtime.block_on(broker::start(config, &file)).unwrap();
    let generation = running.node().router.policies().generation();
    // A file that has nothing to read until somebody writes, and then is one like any other.
    std::fs::remove_file(&policy).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&policy).status();
    assert!(made.unwrap().success());
    let (others, turn) = mpsc::sync_channel(1);
    let written = folder.join("written.yaml");
    let writer = std::thread::spawn(move || {
        let had_their_turn = turn.recv_timeout(Duration::from_secs(60)).is_ok();
        let mut pipe = std::fs::File::options().write(true).open(&policy).unwrap();
        std::fs::write(&written, POLICY).unwrap();
        std::fs::rename(&written, &policy).unwrap();
        pipe.write_all(POLICY.as_bytes()).unwrap();
        had_their_turn
    });
    let reloaded = runtime.block_on(async {
        let asked = running.clone();
        let reload = tokio::spawn(async move { asked.reload().await });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        others.send(()).unwrap();
        reload.await.unwrap()
    });
    assert_eq!(reloaded, Ok(()));
    assert!(writer.join().unwrap(), "the reload kept them from it");
    assert_ne!(running.node().router.policies().generation(), generation);
    runtime.block_on(running.stop(Duration::from_secs(30)));
    std::fs::remove_dir_all(folder).unwrap();
}
