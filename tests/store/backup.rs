//! A backup of a running node, brought back into an empty folder.

use super::{ADMIN, as_admin, away, publish, publisher, retain, run, setup, store, waiting};
use crate::support::broker::Broker;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

fn export(broker: &Broker, scope: &str, file: &str) -> Command {
    let mut command = as_admin(broker, scope, &["store", "export"]);
    command.arg(broker.path().join(file));
    command
}

#[test]
fn what_was_acknowledged_before_an_export_is_in_it_while_traffic_goes_on() {
    const BEFORE: u32 = 600;
    let broker = setup(ADMIN).start();
    for name in ["one", "two"] {
        away(broker.dial("lab"), name);
    }
    let mut wire = publisher(broker.dial("lab"));
    for number in 0..BEFORE {
        publish(&mut wire, number);
    }
    retain(&mut wire, "r/kept", "as it was");
    let is_over = AtomicBool::new(false);
    let told = std::thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            let mut number = BEFORE;
            while !is_over.load(Ordering::Relaxed) {
                publish(&mut wire, number);
                number += 1;
            }
        });
        let told = run(&mut export(&broker, "admin", "backup"));
        is_over.store(true, Ordering::Relaxed);
        traffic.join().unwrap();
        told.unwrap()
    });
    assert!(
        told.contains("backup: ") && told.contains(" records"),
        "{told}"
    );
    let backup = broker.path().join("backup");
    let mode = fs::metadata(&backup).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    broker.await_audit("the export", |line| {
        line["event"] == "admin" && line["reason"] == "export of the store"
    });

    let again = setup("");
    let folder = again.path().join("data/store");
    let imported = store(&folder, &["import", backup.to_str().unwrap()]).unwrap();
    assert!(imported.contains("2 sessions"), "{imported}");
    let again = again.start();
    for name in ["one", "two"] {
        waiting(again.dial("lab"), name, BEFORE);
    }
    let mut reader = publisher(again.dial("lab"));
    reader.send("82 .. 0001 <> s'r/#' 00");
    reader.expect("90 .. 0001 <> 00");
    reader.expect("31 .. s'r/kept' <> 'as it was'");
}

#[test]
fn an_export_needs_an_admin_a_store_and_a_new_file() {
    let broker = setup(ADMIN).start();
    let refused = run(&mut export(&broker, "operator", "backup")).unwrap_err();
    assert!(refused.contains("403"), "{refused}");
    assert!(!broker.path().join("backup").exists());
    fs::write(broker.path().join("backup"), "another file").unwrap();
    let refused = run(&mut export(&broker, "admin", "backup")).unwrap_err();
    assert!(refused.contains("exists"), "{refused}");
    assert_eq!(
        fs::read_to_string(broker.path().join("backup")).unwrap(),
        "another file"
    );
}
