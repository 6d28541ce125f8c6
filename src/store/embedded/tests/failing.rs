//! A disk that fails or runs full: nothing is acknowledged that is not kept, and service resumes by itself.

use super::*;

#[test]
fn sto_01_while_the_disk_fails_nothing_is_acknowledged_and_nothing_that_was_is_lost() {
    let disk = Disk::default();
    let (store, _) = open(&disk);
    store.save(record(1));
    settle_down(&store, publish(&store, "before", 1, 1).1);
    disk.set_failing(true);
    let (_, during) = publish(&store, "during", 1, 2);
    assert!(!reaches(&store, during, Duration::from_millis(300)));
    assert!(!store.accepting());
    let (lost, _) = open(&disk_that_works(&disk));
    drop(lost);
    disk.set_failing(false);
    settle_down(&store, during);
    let until = Instant::now() + PATIENCE;
    while !store.accepting() {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(5));
    }
    let (_, after) = publish(&store, "after", 1, 3);
    settle_down(&store, after);
    // Power is lost at once: what the failed sync had left in memory would be gone.
    let (_store, restored) = open(&disk.after_power_loss(&mut |_| 1));
    assert_eq!(
        payloads(&find(&restored, 1).window),
        ["before", "during", "after"]
    );
}

/// The same bytes on a disk that does not fail.
fn disk_that_works(disk: &Disk) -> Disk {
    disk.after_power_loss(&mut |_| 1)
}

#[test]
fn a_disk_that_fails_for_good_does_not_hold_up_a_stop() {
    let disk = Disk::default();
    let (store, _) = open(&disk);
    settle_down(&store, store.save(record(1)));
    disk.set_failing(true);
    let (_, position) = publish(&store, "lost", 1, 1);
    store.close();
    assert!(
        !store.wait(position, Waker::noop()),
        "nobody was told that it is kept"
    );
    assert!(!store.accepting());
}

/// The commit that was given up has taken all there was: the one after it is empty, and says nothing about it.
#[test]
fn what_a_stop_gives_up_is_not_acknowledged_by_the_commit_after_it() {
    let disk = Disk::default();
    let (store, _) = open(&disk);
    settle_down(&store, store.save(record(1)));
    disk.set_failing(true);
    let (_, position) = publish(&store, "lost", 1, 1);
    let until = Instant::now() + PATIENCE;
    while store.accepting() {
        assert!(Instant::now() < until, "the failure was not noticed");
        std::thread::sleep(Duration::from_millis(1));
    }
    store.close();
    assert!(!store.wait(position, Waker::noop()));
}

#[test]
fn below_store_free_nothing_more_is_promised_until_there_is_room() {
    let disk = Disk::default();
    let options = Options {
        store_free: 1_000,
        ..OPTIONS
    };
    disk.set_free(999);
    let (store, _) = open_with(&disk, options).unwrap();
    assert!(!store.accepting(), "looked at from the start");
    disk.set_free(1_000);
    let until = Instant::now() + PATIENCE;
    while !store.accepting() {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(20));
    }
    disk.set_free(10);
    while store.accepting() {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(20));
    }
    // What was taken already is still written.
    settle_down(&store, publish(&store, "taken", 1, 1).1);
}
