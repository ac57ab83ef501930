//! The rules of the model, each over many seeds. "May" is shown by finding both outcomes.

#![expect(unsafe_code, reason = "maps are read and written through pointers")]

use std::collections::BTreeSet;
use std::io;

use super::*;
use crate::base::sync::spawn;
use crate::storage::disk::conformance;

const SEEDS: u64 = 64;
const SECTOR: usize = SECTOR_BYTES as usize;

/// A disk with one file "a" of `sectors` sectors of ones, contents and name durable, and no write-back by chance.
fn with_file(seed: u64, sectors: usize) -> (SimDisk, Arc<dyn File>) {
    let disk = SimDisk::new(seed);
    disk.set_write_back(0);
    disk.tolerate_dead_writes();
    disk.put("a", &vec![1; sectors * SECTOR]);
    let file = disk.open("a", Access::Write).unwrap();
    (disk, file)
}

/// The first byte of each sector.
fn sectors(disk: &SimDisk, path: &str) -> Vec<u8> {
    disk.contents(path).chunks(SECTOR).map(|sector| sector[0]).collect()
}

/// What `run` finds with every seed.
fn outcomes<T: Ord>(run: impl FnMut(u64) -> T) -> BTreeSet<T> {
    (0..SEEDS).map(run).collect()
}

fn read(file: &dyn File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read(offset, &mut bytes).map(|()| bytes)
}

fn errno<T>(outcome: io::Result<T>) -> Option<i32> {
    outcome.err().and_then(|fault| fault.raw_os_error())
}

#[test]
fn it_is_a_disk() {
    conformance::check(|| SimDisk::new(1));
}

#[test]
fn everything_follows_from_the_seed() {
    let run = |seed| {
        let disk = SimDisk::new(seed);
        let file = disk.open("a", Access::Create).unwrap();
        disk.sync_dir("").unwrap();
        (0..200).for_each(|n| file.write(n * 300, &[n as u8; 700]).unwrap());
        disk.power_cut();
        disk.contents("a")
    };
    assert_eq!(run(7), run(7));
    assert!(outcomes(run).len() > 8);
}

mod power_cuts {
    use super::*;

    #[test]
    fn an_unsynced_sector_may_or_may_not_survive_and_each_by_itself() {
        let found = outcomes(|seed| {
            let (disk, file) = with_file(seed, 3);
            file.write(0, &[2; 3 * SECTOR]).unwrap();
            disk.power_cut();
            sectors(&disk, "a")
        });
        assert_eq!(found.len(), 8, "{found:?}");
    }

    #[test]
    fn a_sector_is_never_torn() {
        for seed in 0..SEEDS {
            let (disk, file) = with_file(seed, 8);
            file.write(100, &[2; 3000]).unwrap();
            disk.power_cut();
            let mut written = vec![1; 8 * SECTOR];
            written[100..3100].fill(2);
            for (sector, wanted) in disk.contents("a").chunks(SECTOR).zip(written.chunks(SECTOR)) {
                assert!(sector == wanted || sector == [1; SECTOR]);
            }
        }
    }

    #[test]
    fn a_synced_sector_always_survives() {
        for seed in 0..SEEDS {
            let (disk, file) = with_file(seed, 4);
            file.write(0, &[2; 4 * SECTOR]).unwrap();
            file.sync_data().unwrap();
            disk.power_cut();
            assert_eq!(disk.contents("a"), [2; 4 * SECTOR]);
        }
    }

    #[test]
    fn write_durable_keeps_its_range_and_leaves_earlier_writes_as_holes() {
        let found = outcomes(|seed| {
            let (disk, file) = with_file(seed, 2);
            file.write(0, &[2; 4 * SECTOR]).unwrap();
            file.write_durable(4 * SECTOR_BYTES, &[3; SECTOR]).unwrap();
            disk.power_cut();
            sectors(&disk, "a")
        });
        assert!(found.iter().all(|sectors| sectors.len() == 5 && sectors[4] == 3), "{found:?}");
        assert!(found.contains(&vec![1, 1, 0, 0, 3]) && found.contains(&vec![2, 2, 2, 2, 3]), "{found:?}");
        assert!(found.iter().any(|sectors| sectors[2] == 0 && sectors[3] == 2), "{found:?}");
    }

    #[test]
    fn a_version_between_syncs_may_survive_because_it_was_written_back() {
        let found = outcomes(|seed| {
            let (disk, file) = with_file(seed, 1);
            disk.set_write_back(128);
            (2..6).for_each(|version| file.write(0, &[version; SECTOR]).unwrap());
            disk.power_cut_with(Cut::AllLost);
            sectors(&disk, "a")[0]
        });
        assert_eq!(found, BTreeSet::from([1, 2, 3, 4, 5]));
    }

    #[test]
    fn an_unsynced_length_may_be_lost_and_a_synced_one_is_not() {
        let grown = outcomes(|seed| {
            let (disk, file) = with_file(seed, 1);
            file.set_len(1024).unwrap();
            file.sync_data().unwrap();
            file.write(1024, &[2; 1024]).unwrap();
            disk.power_cut();
            disk.contents("a").len()
        });
        assert!(grown.contains(&1024) && grown.contains(&2048) && grown.len() > 2, "{grown:?}");
        assert!(*grown.first().unwrap() >= 1024);
        let cut = outcomes(|seed| {
            let (disk, file) = with_file(seed, 2);
            file.set_len(SECTOR_BYTES).unwrap();
            disk.power_cut();
            sectors(&disk, "a")
        });
        assert_eq!(cut, BTreeSet::from([vec![1], vec![1, 1]]));
    }

    #[test]
    fn bytes_cut_off_and_regrown_are_old_or_zeros() {
        let found = outcomes(|seed| {
            let (disk, file) = with_file(seed, 2);
            file.set_len(0).unwrap();
            file.set_len(2 * SECTOR_BYTES).unwrap();
            disk.power_cut();
            sectors(&disk, "a")
        });
        assert_eq!(found.len(), 4, "{found:?}");
        let (disk, file) = with_file(1, 2);
        file.set_len(0).unwrap();
        file.sync_data().unwrap();
        file.set_len(2 * SECTOR_BYTES).unwrap();
        disk.power_cut_with(Cut::AllKept);
        assert_eq!(sectors(&disk, "a"), [0, 0]);
    }

    #[test]
    fn stores_through_maps_are_like_unsynced_writes() {
        let found = outcomes(|seed| {
            let (disk, file) = with_file(seed, 2);
            let map = file.map_write(2 * SECTOR_BYTES).unwrap();
            // SAFETY: no other slice of this map is alive.
            unsafe { map.bytes_mut(0, 2 * SECTOR) }.fill(2);
            disk.power_cut();
            sectors(&disk, "a")
        });
        assert_eq!(found.len(), 4, "{found:?}");
        let (disk, file) = with_file(1, 2);
        let map = file.map_write(2 * SECTOR_BYTES).unwrap();
        // SAFETY: no other slice of this map is alive.
        unsafe { map.bytes_mut(SECTOR, 1) }.fill(2);
        file.sync_data().unwrap();
        disk.power_cut_with(Cut::AllLost);
        assert_eq!(sectors(&disk, "a"), [1, 2]);
    }
}

mod names {
    use super::*;

    #[test]
    fn a_new_name_may_be_lost_until_its_folder_is_synced() {
        let found = outcomes(|seed| {
            let (disk, _) = with_file(seed, 1);
            disk.open("b", Access::Create).unwrap().sync_data().unwrap();
            disk.power_cut();
            disk.paths()
        });
        assert_eq!(found, BTreeSet::from([vec!["a".to_owned()], vec!["a".to_owned(), "b".to_owned()]]));
        for seed in 0..SEEDS {
            let (disk, _) = with_file(seed, 1);
            disk.open("b", Access::Create).unwrap();
            disk.sync_dir("").unwrap();
            disk.power_cut();
            assert_eq!(disk.paths(), ["a", "b"]);
        }
    }

    #[test]
    fn syncing_a_folder_says_nothing_of_another() {
        let found = outcomes(|seed| {
            let (disk, _) = with_file(seed, 1);
            disk.create_folder("segments").unwrap();
            disk.sync_dir("").unwrap();
            disk.open("segments/b", Access::Create).unwrap();
            disk.sync_dir("").unwrap();
            disk.power_cut();
            disk.paths().len()
        });
        assert_eq!(found, BTreeSet::from([1, 2]));
    }

    #[test]
    fn a_renamed_file_is_under_the_old_name_or_the_new_one() {
        let found = outcomes(|seed| {
            let (disk, file) = with_file(seed, 1);
            disk.put("b", b"b");
            file.sync_data().unwrap();
            disk.rename("a", "b").unwrap();
            disk.power_cut();
            (disk.paths(), disk.contents("b").len())
        });
        let (a, b) = ("a".to_owned(), "b".to_owned());
        assert_eq!(found, BTreeSet::from([(vec![a, b.clone()], 1), (vec![b], SECTOR)]));
    }

    #[test]
    fn a_rename_may_survive_although_the_contents_do_not() {
        let found = outcomes(|seed| {
            let (disk, _) = with_file(seed, 1);
            disk.open("temporary", Access::Create).unwrap().write(0, &[9; SECTOR]).unwrap();
            disk.rename("temporary", "a").unwrap();
            disk.power_cut();
            disk.contents("a").first().copied()
        });
        assert!(found.contains(&None) && found.contains(&Some(1)) && found.contains(&Some(9)), "{found:?}");
    }

    #[test]
    fn changes_survive_independently_unless_one_needs_another() {
        let found = outcomes(|seed| {
            let (disk, _) = with_file(seed, 1);
            disk.open("b", Access::Create).unwrap();
            disk.create_folder("f").unwrap();
            disk.open("f/c", Access::Create).unwrap();
            disk.remove("a").unwrap();
            disk.power_cut();
            let has_folder = disk.list("f").is_ok();
            (disk.paths(), has_folder)
        });
        assert!(found.iter().all(|(paths, folder)| *folder || !paths.contains(&"f/c".to_owned())));
        assert!(found.len() >= 8, "{found:?}");
    }

    #[test]
    fn a_removed_name_may_come_back_with_its_contents() {
        let found = outcomes(|seed| {
            let (disk, file) = with_file(seed, 1);
            drop(file);
            disk.remove("a").unwrap();
            disk.power_cut();
            disk.paths().first().map(|path| disk.contents(path)[0])
        });
        assert_eq!(found, BTreeSet::from([None, Some(1)]));
    }

    #[test]
    fn syncing_a_rename_into_a_folder_takes_the_creation_along() {
        let (disk, _) = with_file(1, 1);
        disk.create_folder("segments").unwrap();
        disk.sync_dir("").unwrap();
        disk.open("spare", Access::Create).unwrap();
        disk.rename("spare", "segments/1").unwrap();
        disk.sync_dir("segments").unwrap();
        disk.power_cut_with(Cut::AllLost);
        assert_eq!(disk.paths(), ["a", "segments/1"]);
    }
}

mod deaths {
    use super::*;

    #[test]
    fn a_kill_loses_nothing_and_releases_the_lock() {
        for seed in 0..SEEDS {
            let (disk, file) = with_file(seed, 2);
            let _lock = disk.lock(Hold::Exclusive).unwrap();
            disk.open("b", Access::Create).unwrap().write(0, b"b").unwrap();
            let map = file.map_write(SECTOR_BYTES).unwrap();
            // SAFETY: no other slice of this map is alive.
            unsafe { map.bytes_mut(0, 1) }.fill(2);
            disk.kill();
            assert_eq!(sectors(&disk, "a"), [2, 1]);
            assert_eq!(disk.contents("b"), b"b");
            drop(disk.lock(Hold::Exclusive).unwrap());
            disk.power_cut_with(Cut::AllLost);
            assert_eq!(sectors(&disk, "a"), [1, 1], "the store was in the page cache only");
        }
    }

    #[test]
    fn what_was_opened_before_is_dead_and_its_memory_stays() {
        for stop in [SimDisk::kill, SimDisk::power_cut] {
            let (bench, _) = with_file(3, 1);
            let disk = bench.attach();
            let (file, lock) = (disk.open("a", Access::Write).unwrap(), disk.lock(Hold::Exclusive).unwrap());
            let map = file.map_write(SECTOR_BYTES).unwrap();
            stop(&bench);
            assert!(file.write(0, &[2]).is_err() && file.len().is_err() && file.sync_data().is_err());
            assert!(read(&*file, 0, 1).is_err() && file.map_read(1).is_err());
            assert!(disk.open("a", Access::Read).is_err() && disk.sync_dir("").is_err());
            // SAFETY: no other slice of this map is alive.
            unsafe { map.bytes_mut(0, 1) }.fill(2);
            assert_eq!(sectors(&bench, "a"), [1]);
            let _held = bench.attach().lock(Hold::Exclusive).unwrap();
            drop((file, lock));
            assert!(bench.lock(Hold::Exclusive).is_err(), "a dead holder must not release the lock of the living");
        }
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "died with its machine")]
    fn a_write_by_the_dead_is_a_bug_of_the_test() {
        let disk = SimDisk::new(1);
        let file = disk.open("a", Access::Create).unwrap();
        disk.power_cut();
        let _ = file.write(0, &[1]);
    }

    #[test]
    fn a_snapshot_can_be_crashed_again_and_again() {
        let (disk, file) = with_file(1, 8);
        file.write(0, &[2; 8 * SECTOR]).unwrap();
        let image = disk.snapshot();
        let found = outcomes(|seed| {
            let copy = SimDisk::from_snapshot(&image, seed);
            copy.power_cut_with(Cut::BySector);
            sectors(&copy, "a")
        });
        assert!(found.len() > 32);
        file.write(0, &[3]).unwrap();
        assert_eq!(sectors(&SimDisk::from_snapshot(&image, 1), "a"), [2; 8]);
    }
}

mod maps {
    use super::*;

    #[test]
    #[should_panic(expected = "must not shrink")]
    fn a_mapped_file_must_not_shrink() {
        let (_disk, file) = with_file(1, 2);
        let _map = file.map_read(10).unwrap();
        let _ = file.set_len(5);
    }

    #[test]
    #[should_panic(expected = "must not grow")]
    fn a_file_mapped_for_writing_must_not_grow() {
        let (_disk, file) = with_file(1, 2);
        let _map = file.map_write(10).unwrap();
        let _ = file.write(2 * SECTOR_BYTES, &[1]);
    }

    #[test]
    fn a_file_mapped_for_reading_may_grow_and_its_maps_stay_true() {
        let (_disk, file) = with_file(1, 2);
        let map = file.map_read(2 * SECTOR_BYTES).unwrap();
        file.set_len(1 << 20).unwrap();
        file.write(SECTOR_BYTES - 1, &[7; 2 * SECTOR]).unwrap();
        // SAFETY: nothing writes while the slice lives.
        assert_eq!(unsafe { map.bytes(SECTOR - 2, 3) }, [1, 7, 7]);
        assert_eq!(read(&*file, 3 * SECTOR_BYTES - 2, 2).unwrap(), [7, 0]);
    }
}

mod faults {
    use super::*;

    #[test]
    fn the_nth_operation_fails_once_or_for_ever() {
        let (disk, file) = with_file(1, 1);
        disk.inject(Fault::on(Operations::Writes).after(2).no_space());
        let outcomes = [0; 5].map(|_| errno(file.write(0, &[2])));
        assert_eq!(outcomes, [None, None, Some(libc::ENOSPC), None, None]);
        disk.inject(Fault::on(Operations::All).path("a").after(1).forever());
        let outcomes = [0; 4].map(|_| errno(read(&*file, 0, 1)));
        assert_eq!(outcomes, [None, Some(libc::EIO), Some(libc::EIO), Some(libc::EIO)]);
        disk.sync_dir("").unwrap();
        disk.clear_faults();
        read(&*file, 0, 1).unwrap();
    }

    #[test]
    fn faults_by_chance_follow_the_seed() {
        let run = |seed| {
            let (disk, file) = with_file(seed, 1);
            disk.inject(Fault::on(Operations::Reads).chance(64).forever());
            (0..100).map(|_| read(&*file, 0, 1).is_err()).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert!((5..60).contains(&run(1).iter().filter(|failed| **failed).count()));
    }

    #[test]
    fn a_failed_write_may_have_written_any_prefix() {
        let found = outcomes(|seed| {
            let (disk, file) = with_file(seed, 4);
            disk.inject(Fault::on(Operations::Writes));
            assert_eq!(errno(file.write(0, &[2; 4 * SECTOR])), Some(libc::EIO));
            let contents = disk.contents("a");
            let written = contents.iter().take_while(|byte| **byte == 2).count();
            assert!(contents[written..].iter().all(|byte| *byte == 1));
            written
        });
        assert!(found.contains(&0) && found.contains(&(4 * SECTOR)) && found.len() > 3, "{found:?}");
    }

    #[test]
    fn after_a_failed_sync_a_sector_marked_clean_reads_new_and_is_old_on_the_device() {
        let fail = |seed| {
            let (disk, file) = with_file(seed, 2);
            file.write(0, &[2; SECTOR]).unwrap();
            disk.inject(Fault::on(Operations::Syncs).aftermath(Aftermath::MarkedClean));
            assert_eq!(errno(file.sync_data()), Some(libc::EIO));
            file.sync_data().expect("the second sync lies");
            assert_eq!(sectors(&disk, "a"), [2, 1]);
            (disk, file)
        };
        let (disk, _file) = fail(1);
        disk.power_cut_with(Cut::AllKept);
        assert_eq!(sectors(&disk, "a"), [1, 1]);
        let (disk, file) = fail(2);
        file.drop_cache().unwrap();
        assert_eq!(sectors(&disk, "a"), [1, 1]);
        let (disk, file) = fail(3);
        file.write(1, &[3]).unwrap();
        file.sync_data().unwrap();
        disk.power_cut_with(Cut::AllLost);
        assert_eq!(disk.contents("a")[..3], [2, 3, 2], "written again, the whole sector is dirty again");
    }

    #[test]
    fn after_a_failed_sync_a_reverted_sector_reads_old() {
        let (disk, file) = with_file(1, 2);
        file.write(0, &[2; SECTOR]).unwrap();
        disk.inject(Fault::on(Operations::Syncs).aftermath(Aftermath::Reverted));
        assert!(file.sync_data().is_err());
        assert_eq!(sectors(&disk, "a"), [1, 1]);
        file.sync_data().unwrap();
        disk.power_cut_with(Cut::AllKept);
        assert_eq!(sectors(&disk, "a"), [1, 1]);
    }

    #[test]
    fn a_mapped_store_after_a_failed_sync_is_dirty_again() {
        let (disk, file) = with_file(1, 1);
        let map = file.map_write(SECTOR_BYTES).unwrap();
        // SAFETY: no other slice of this map is alive.
        unsafe { map.bytes_mut(0, 1) }.fill(2);
        disk.inject(Fault::on(Operations::Syncs).aftermath(Aftermath::MarkedClean));
        assert!(file.sync_data().is_err());
        // SAFETY: as above.
        unsafe { map.bytes_mut(1, 1) }.fill(3);
        file.sync_data().unwrap();
        disk.power_cut_with(Cut::AllLost);
        assert_eq!(disk.contents("a")[..3], [2, 3, 1]);
    }

    #[test]
    fn a_failed_durable_write_says_nothing_of_its_range_and_spares_the_rest() {
        let found = outcomes(|seed| {
            let (disk, file) = with_file(seed, 4);
            disk.inject(Fault::on(Operations::Syncs));
            assert!(file.write_durable(SECTOR_BYTES, &[2; 2 * SECTOR]).is_err());
            disk.power_cut();
            sectors(&disk, "a")
        });
        assert!(found.iter().all(|sectors| (sectors[0], sectors[3]) == (1, 1)));
        assert_eq!(found.len(), 4, "{found:?}");
    }

    #[test]
    fn a_full_disk_takes_what_fits_and_lets_be_overwritten_what_is_there() {
        let (disk, file) = with_file(1, 2);
        disk.set_capacity(3 * SECTOR_BYTES);
        assert_eq!(errno(file.write(SECTOR_BYTES, &[2; 3 * SECTOR])), Some(libc::ENOSPC));
        assert_eq!(sectors(&disk, "a"), [1, 2, 2]);
        assert_eq!(errno(file.set_len(4 * SECTOR_BYTES)), Some(libc::ENOSPC));
        file.write(0, &[3; 3 * SECTOR]).unwrap();
        let other = disk.open("b", Access::Create).unwrap();
        assert_eq!(errno(other.write(0, &[1])), Some(libc::ENOSPC));
        disk.remove("a").unwrap();
        assert!(other.write(0, &[1]).is_err(), "an open file keeps its room");
        drop(file);
        other.write(0, &[1]).unwrap();
        assert_eq!(disk.allocated(), 1);
    }

    #[test]
    fn unreadable_ranges_fail_reads_that_touch_them() {
        let (disk, file) = with_file(1, 2);
        disk.make_unreadable("a", 600..610);
        assert_eq!(errno(read(&*file, 0, 601)), Some(libc::EIO));
        assert_eq!(errno(read(&*file, 609, 1)), Some(libc::EIO));
        read(&*file, 0, 600).unwrap();
        read(&*file, 610, 10).unwrap();
        disk.make_readable("a");
        read(&*file, 0, 1000).unwrap();
    }
}

mod bench {
    use super::*;

    #[test]
    fn operations_are_counted_by_path_and_the_last_are_logged() {
        let (disk, file) = with_file(1, 2);
        let before = disk.changes();
        file.write(0, &[2; 10]).unwrap();
        file.write_durable(0, &[2; 20]).unwrap();
        file.sync_data().unwrap();
        read(&*file, 0, 5).unwrap();
        let wanted = Counts { reads: 1, bytes_read: 5, writes: 2, bytes_written: 30, syncs: 2 };
        assert_eq!(disk.counts("a"), wanted);
        assert_eq!(disk.changes() - before, 3);
        disk.inject(Fault::on(Operations::Syncs));
        file.sync_data().unwrap_err();
        let log = disk.log();
        assert!(log.contains("WriteDurable \"a\" at 0 len 20\n") && log.ends_with("-> Io\n"), "{log}");
    }

    #[test]
    fn a_flipped_bit_is_seen_by_maps_and_survives_a_power_cut() {
        let (disk, file) = with_file(1, 2);
        let map = file.map_read(2 * SECTOR_BYTES).unwrap();
        disk.flip_bit("a", 600, 3);
        // SAFETY: nothing writes while the slice lives.
        assert_eq!(unsafe { map.bytes(600, 1) }, [1 ^ 8]);
        disk.power_cut_with(Cut::AllLost);
        assert_eq!(disk.contents("a")[600], 1 ^ 8);
    }

    #[test]
    fn files_are_truncated_erased_and_put_durably() {
        let (disk, file) = with_file(1, 2);
        disk.truncate("a", 700);
        assert_eq!(file.len().unwrap(), 700);
        disk.put("b", b"bytes");
        disk.erase("a");
        disk.power_cut_with(Cut::AllLost);
        assert_eq!(disk.paths(), ["b"]);
        assert_eq!(disk.contents("b"), b"bytes");
    }

    #[test]
    fn threads_share_a_disk() {
        let disk = SimDisk::new(1);
        let threads = ["a", "b", "c"].map(|name| {
            let disk = disk.attach();
            let body = move || {
                let file = disk.open(name, Access::Create).unwrap();
                (0..200).for_each(|n| file.write_durable(n * 100, &[1; 100]).unwrap());
            };
            spawn(name, body).unwrap()
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(disk.allocated(), 60_000);
    }
}
