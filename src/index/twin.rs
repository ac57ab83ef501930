//! The index held against a stupid twin of maps, over generated commits, reopening, full disks and power cuts.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use super::faulty_file::{Dice, FaultyFile};
use super::*;
use crate::base::lsn::Lsn;
use crate::base::segment_id::SegmentId;
use crate::storage::disk::File;

const LOGS: u64 = 4;

#[derive(Clone, Debug, PartialEq)]
struct Twin {
    meta: Meta,
    rows: BTreeMap<RowKey, Vec<u8>>,
    runs: BTreeMap<(LogId, u64), Run>,
    segments: BTreeMap<SegmentId, SegmentRow>,
    timers: BTreeSet<(u64, RowKey)>,
}

fn first_meta() -> Meta {
    Meta {
        database_id: [9; 16],
        format: 1,
        applied: Lsn(4096),
        indexed: Lsn(0),
        commits: 1,
        wall_high: Timestamp(5),
        next_survivor: 1,
    }
}

pub(super) fn run(log: u64, first: u64, end: u64, time: u64) -> Run {
    Run {
        log: LogId(log),
        first,
        end,
        segment: SegmentId::Survivor(first / 2),
        slot: 3,
        records: end - first,
        bytes: (end - first) * 140,
        min_timestamp: Timestamp(time),
        max_timestamp: Timestamp(time + 9),
        min_expiry: u64::MAX,
    }
}

impl Twin {
    fn new() -> Twin {
        Twin {
            meta: first_meta(),
            rows: BTreeMap::new(),
            runs: BTreeMap::new(),
            segments: BTreeMap::new(),
            timers: BTreeSet::new(),
        }
    }

    fn next_meta(&self) -> Meta {
        let mut meta = self.meta;
        meta.commits += 1;
        meta.applied = meta.applied.plus(64);
        meta
    }

    /// Changes of every kind: mostly additions, so that the file grows.
    fn checkpoint(&self, dice: &mut Dice, rows: u64) -> Checkpoint {
        let mut checkpoint = Checkpoint::of(self.next_meta());
        for _ in 0..dice.below(rows) {
            let key = RowKey { kind: dice.below(3) as u8, id: dice.below(500) };
            let row = (dice.below(4) > 0).then(|| vec![dice.next() as u8; dice.below(900) as usize]);
            checkpoint.rows.push((key, row));
        }
        for log in 0..LOGS {
            let old: Vec<&Run> = self.runs.values().filter(|run| run.log.0 == log).collect();
            if let Some(victim) = old.get(dice.below(8) as usize) {
                checkpoint.runs_removed.push((victim.log, victim.first));
                if dice.below(2) == 0 {
                    checkpoint.runs_added.push(Run { slot: 77, ..**victim });
                }
            }
            let (mut end, mut time) = old.last().map_or((0, 0), |run| (run.end, run.max_timestamp.0));
            for _ in 0..dice.below(4) {
                let first = end + dice.below(3) * dice.below(1000);
                end = first + 1 + dice.below(50);
                checkpoint.runs_added.push(run(log, first, end, time + dice.below(3)));
                time += 11;
            }
        }
        for _ in 0..dice.below(4) {
            let number = dice.below(20);
            let id = if dice.below(2) == 0 { SegmentId::Journal(number) } else { SegmentId::Survivor(number) };
            let row = SegmentRow { id, total_bytes: 100, live_bytes: dice.below(100), file_bytes: 8 << 20 };
            checkpoint.segments.push((id, (dice.below(3) > 0).then_some(row)));
        }
        for _ in 0..dice.below(20) {
            let key = RowKey { kind: dice.below(3) as u8, id: dice.below(20) };
            checkpoint.timers.push((1 + dice.below(30), key, dice.below(3) > 0));
        }
        checkpoint
    }

    fn apply(&mut self, checkpoint: &Checkpoint) {
        self.meta = checkpoint.meta;
        for (key, row) in &checkpoint.rows {
            match row {
                Some(bytes) => drop(self.rows.insert(*key, bytes.clone())),
                None => drop(self.rows.remove(key)),
            }
        }
        for removed in &checkpoint.runs_removed {
            self.runs.remove(removed);
        }
        self.runs.extend(checkpoint.runs_added.iter().map(|run| ((run.log, run.first), *run)));
        for (id, row) in &checkpoint.segments {
            match row {
                Some(row) => drop(self.segments.insert(*id, *row)),
                None => drop(self.segments.remove(id)),
            }
        }
        for &(due, key, add) in &checkpoint.timers {
            if add {
                self.timers.insert((due, key))
            } else {
                self.timers.remove(&(due, key))
            };
        }
    }

    fn runs_from(&self, log: LogId, offset: u64) -> impl Iterator<Item = Run> {
        self.runs.values().copied().filter(move |run| run.log == log && run.end > offset)
    }

    fn assert_same_tables(&self, index: &Index) {
        assert_eq!(index.meta().unwrap(), self.meta);
        let mut rows = BTreeMap::new();
        index
            .for_each_row(&mut |key, bytes| {
                rows.insert(key, bytes.to_vec());
                Ok(())
            })
            .unwrap();
        assert_eq!(rows, self.rows);
        let mut runs = Vec::new();
        index
            .for_each_run(&mut |run| {
                runs.push(*run);
                Ok(())
            })
            .unwrap();
        assert_eq!(runs, self.runs.values().copied().collect::<Vec<_>>());
        assert_eq!(index.segments().unwrap(), self.segments.values().copied().collect::<Vec<_>>());
        let timers: Vec<_> = self.timers.iter().copied().collect();
        assert_eq!(index.next_timers((0, RowKey { kind: 0, id: 0 }), usize::MAX).unwrap(), timers);
    }

    fn assert_same_answers(&self, index: &Index, dice: &mut Dice) {
        for _ in 0..8 {
            let key = RowKey { kind: dice.below(3) as u8, id: dice.below(500) };
            assert_eq!(index.row(key).unwrap(), self.rows.get(&key).cloned());
            let log = LogId(dice.below(LOGS + 1));
            let end = self.runs_from(log, 0).last().map_or(10, |run| run.end);
            let offset = dice.below(end + 10);
            assert_eq!(index.run_at(log, offset).unwrap(), self.runs_from(log, offset).next());
            assert_eq!(index.last_run(log).unwrap(), self.runs_from(log, 0).last());
            let max = dice.below(6) as usize;
            assert_eq!(
                index.runs(log, offset, max).unwrap(),
                self.runs_from(log, offset).take(max).collect::<Vec<_>>()
            );
            let last_time = self.runs_from(log, 0).last().map_or(10, |run| run.max_timestamp.0);
            let time = Timestamp(dice.below(last_time + 10));
            let slow = self.runs_from(log, offset).find(|run| run.max_timestamp >= time);
            assert_eq!(index.run_for_time(log, offset, time).unwrap(), slow);
            let after = (dice.below(30), RowKey { kind: 1, id: dice.below(20) });
            let timers: Vec<_> = self.timers.iter().copied().filter(|&timer| timer > after).take(max).collect();
            assert_eq!(index.next_timers(after, max).unwrap(), timers);
        }
    }
}

fn created() -> (Arc<FaultyFile>, Index, Twin) {
    let file = FaultyFile::new();
    let index = Index::create(file.clone(), first_meta()).unwrap();
    (file, index, Twin::new())
}

/// About `mib` MiB of rows in one checkpoint.
fn large_checkpoint(twin: &Twin, mib: u64) -> Checkpoint {
    let mut checkpoint = Checkpoint::of(twin.next_meta());
    for id in 0..mib << 8 {
        checkpoint.rows.push((RowKey { kind: 9, id: id + (twin.meta.commits << 32) }, Some(vec![id as u8; 4000])));
    }
    checkpoint
}

#[test]
fn index_and_twin_agree_over_generated_commits_and_reopening() {
    for seed in 0..4 {
        let mut dice = Dice(seed);
        let (file, mut index, mut twin) = created();
        for _ in 0..60 {
            let checkpoint = twin.checkpoint(&mut dice, 80);
            index.commit(checkpoint.clone()).unwrap();
            twin.apply(&checkpoint);
            twin.assert_same_answers(&index, &mut dice);
            if dice.below(6) == 0 {
                drop(index);
                index = Index::open(file.clone()).unwrap();
            }
            twin.assert_same_tables(&index);
        }
    }
}

#[test]
fn a_run_is_found_by_time_as_a_linear_scan_finds_it_among_thousands() {
    let (_, index, mut twin) = created();
    let mut checkpoint = Checkpoint::of(twin.next_meta());
    let mut dice = Dice(3);
    let (mut first, mut time) = (1 << 50, 7);
    for _ in 0..3000 {
        checkpoint.runs_added.push(run(2, first, first + 1 + dice.below(9), time));
        first += 10 + dice.below(2) * dice.below(1 << 30);
        time += 9 + dice.below(2) * dice.below(100);
    }
    checkpoint.runs_added.push(run(2, u64::MAX - 1, u64::MAX, time));
    index.commit(checkpoint.clone()).unwrap();
    twin.apply(&checkpoint);
    for _ in 0..300 {
        let (offset, time) = ((1 << 50) + dice.below(first - (1 << 50)), Timestamp(dice.below(time + 30)));
        let slow = twin.runs_from(LogId(2), offset).find(|run| run.max_timestamp >= time);
        assert_eq!(index.run_for_time(LogId(2), offset, time).unwrap(), slow);
    }
}

#[test]
fn an_empty_index_is_small() {
    let (file, index, _) = created();
    assert_eq!(index.file_bytes(), file.len().unwrap());
    assert!(index.file_bytes() <= 2 * INDEX_STEP_BYTES, "{}", index.file_bytes());
}

#[test]
fn the_file_grows_in_whole_steps() {
    let (file, index, mut twin) = created();
    for _ in 0..6 {
        let checkpoint = large_checkpoint(&twin, 1);
        index.commit(checkpoint.clone()).unwrap();
        twin.apply(&checkpoint);
        assert_eq!(file.len().unwrap() % INDEX_STEP_BYTES, 0);
        assert_eq!(file.len().unwrap(), index.file_bytes());
    }
    assert!(index.file_bytes() >= 6 * INDEX_STEP_BYTES);
    twin.assert_same_tables(&index);
}

#[test]
fn opening_and_closing_two_hundred_times_does_not_grow_the_file() {
    let (file, index, mut twin) = created();
    let checkpoint = twin.checkpoint(&mut Dice(1), 200);
    index.commit(checkpoint.clone()).unwrap();
    twin.apply(&checkpoint);
    let bytes = index.file_bytes();
    drop(index);
    for _ in 0..200 {
        let index = Index::open(file.clone()).unwrap();
        let mut again = Checkpoint::of(twin.next_meta());
        again.rows.push((RowKey { kind: 8, id: 1 }, Some(vec![1; 100])));
        index.commit(again.clone()).unwrap();
        twin.apply(&again);
    }
    assert_eq!(file.len().unwrap(), bytes);
    twin.assert_same_tables(&Index::open(file).unwrap());
}

#[test]
fn a_full_disk_drops_the_checkpoint_and_a_later_one_works_once_there_is_room() {
    let (file, index, mut twin) = created();
    let small = twin.checkpoint(&mut Dice(5), 50);
    index.commit(small.clone()).unwrap();
    twin.apply(&small);
    file.set_capacity(file.len().unwrap() + 100);
    let large = large_checkpoint(&twin, 12);
    for _ in 0..3 {
        assert!(matches!(index.commit(large.clone()), Err(IndexError::StorageFull)));
        twin.assert_same_tables(&index);
    }
    let small = twin.checkpoint(&mut Dice(6), 50);
    index.commit(small.clone()).unwrap();
    twin.apply(&small);
    file.heal();
    let large = large_checkpoint(&twin, 12);
    index.commit(large.clone()).unwrap();
    twin.apply(&large);
    twin.assert_same_tables(&index);
    drop(index);
    twin.assert_same_tables(&Index::open(file).unwrap());
}

#[test]
fn a_checkpoint_fits_the_room_there_is_although_redb_asks_for_twice_the_file() {
    let (file, index, mut twin) = created();
    let large = large_checkpoint(&twin, 12);
    index.commit(large.clone()).unwrap();
    twin.apply(&large);
    let bytes = file.len().unwrap();
    file.set_capacity(bytes + 6 * INDEX_STEP_BYTES);
    let mut refused = false;
    for _ in 0..40 {
        let next = large_checkpoint(&twin, 1);
        match index.commit(next.clone()) {
            Ok(()) => twin.apply(&next),
            Err(IndexError::StorageFull) => refused = true,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused);
    assert!(file.len().unwrap() > bytes + 4 * INDEX_STEP_BYTES);
    twin.assert_same_tables(&index);
}

#[test]
fn a_full_disk_at_any_write_leaves_the_checkpoint_whole_or_away_and_the_index_usable() {
    for nth in 0..60 {
        let (file, index, mut twin) = created();
        let first = twin.checkpoint(&mut Dice(nth), 100);
        index.commit(first.clone()).unwrap();
        twin.apply(&first);
        file.fail_write_after(nth, ErrorKind::StorageFull);
        let second = twin.checkpoint(&mut Dice(nth + 100), 100);
        let result = index.commit(second.clone());
        file.heal();
        match result {
            Ok(()) => twin.apply(&second),
            Err(IndexError::StorageFull) => {}
            Err(error) => panic!("{error}"),
        }
        twin.assert_same_tables(&index);
        let third = twin.checkpoint(&mut Dice(nth + 200), 100);
        index.commit(third.clone()).unwrap();
        twin.apply(&third);
        twin.assert_same_tables(&index);
    }
}

#[test]
fn a_failed_write_or_sync_poisons_for_good_and_the_close_writes_nothing() {
    for nth in 0..20 {
        let (file, index, mut twin) = created();
        let first = twin.checkpoint(&mut Dice(nth), 100);
        index.commit(first.clone()).unwrap();
        twin.apply(&first);
        match nth % 3 {
            0 => file.fail_next_sync(ErrorKind::StorageFull),
            1 => file.fail_next_sync(ErrorKind::Other),
            _ => file.fail_write_after(nth / 2, ErrorKind::Other),
        }
        let second = twin.checkpoint(&mut Dice(nth + 100), 100);
        assert!(matches!(index.commit(second.clone()), Err(IndexError::Io(_))));
        file.heal();
        assert!(matches!(index.commit(second.clone()), Err(IndexError::Poisoned)));
        let before = file.content();
        drop(index);
        assert!(file.content() == before);
        let index = Index::open(file).unwrap();
        if index.meta().unwrap().commits == second.meta.commits {
            twin.apply(&second);
        }
        twin.assert_same_tables(&index);
    }
}

#[test]
fn a_poisoned_index_still_reads_and_its_close_writes_nothing() {
    let (file, index, mut twin) = created();
    let first = twin.checkpoint(&mut Dice(1), 100);
    index.commit(first.clone()).unwrap();
    twin.apply(&first);
    let (content, syncs) = (file.content(), file.syncs());
    index.poison();
    assert!(matches!(index.commit(Checkpoint::of(twin.next_meta())), Err(IndexError::Poisoned)));
    twin.assert_same_tables(&index);
    drop(index);
    assert!(file.content() == content && file.syncs() == syncs);
    twin.assert_same_tables(&Index::open(file).unwrap());
}

#[test]
fn a_failed_read_is_an_io_error_with_its_text() {
    let (file, index, mut twin) = created();
    let first = large_checkpoint(&twin, 2 * (INDEX_CACHE_BYTES >> 20) as u64);
    index.commit(first.clone()).unwrap();
    twin.apply(&first);
    drop(index);
    let index = Index::open(file.clone()).unwrap();
    file.fail_reads();
    let error = index.for_each_row(&mut |_, _| Ok(())).unwrap_err();
    assert!(error.to_string().contains("planted read failure"), "{error}");
}

#[test]
fn after_a_power_cut_the_index_holds_the_last_commit_that_returned_or_the_one_under_way() {
    let (mut cuts, mut before, mut after) = (0, 0, 0);
    for seed in 0..250 {
        let mut dice = Dice(seed);
        let (file, index, mut twin) = created();
        for _ in 0..dice.below(3) {
            let checkpoint = twin.checkpoint(&mut dice, 100);
            index.commit(checkpoint.clone()).unwrap();
            twin.apply(&checkpoint);
        }
        let mib = dice.below(4) / 2;
        let checkpoint = if mib > 0 { large_checkpoint(&twin, mib) } else { twin.checkpoint(&mut dice, 200) };
        file.cut_after(dice.below(if mib > 0 { 400 } else { 80 }), dice.next());
        index.commit(checkpoint.clone()).unwrap();
        let Some(kept) = file.after_cut() else { continue };
        cuts += 1;
        let index = Index::open(kept.clone()).unwrap();
        if index.meta().unwrap().commits == checkpoint.meta.commits {
            twin.apply(&checkpoint);
            after += 1;
        } else {
            before += 1;
        }
        twin.assert_same_tables(&index);
        let next = large_checkpoint(&twin, 2);
        index.commit(next.clone()).unwrap();
        twin.apply(&next);
        drop(index);
        twin.assert_same_tables(&Index::open(kept).unwrap());
    }
    assert!(cuts > 60 && before > 20 && after > 0, "{cuts} cuts, {before} before, {after} after");
}

#[test]
fn a_file_that_is_no_index_is_damaged_and_stays_as_it_was() {
    let (file, index, _) = created();
    drop(index);
    let mut torn = file.content();
    torn[64..320].fill(0xa5);
    for bytes in [vec![], vec![0; 5000], vec![1; 2 << 20], file.content()[..9000].to_vec(), torn] {
        let file = FaultyFile::with(bytes.clone());
        assert!(matches!(Index::open(file.clone()), Err(IndexError::Damaged(_))));
        assert!(file.content() == bytes);
    }
}

#[test]
#[should_panic(expected = "above the bound")]
fn a_row_that_takes_more_than_4_kib_with_its_checksum_panics() {
    let (_, index, twin) = created();
    let mut checkpoint = Checkpoint::of(twin.next_meta());
    checkpoint.rows.push((RowKey { kind: 0, id: 0 }, Some(vec![0; 4093])));
    let _ = index.commit(checkpoint);
}

#[test]
fn a_row_takes_at_most_4_kib_with_its_checksum() {
    let (_, index, twin) = created();
    let (key, row) = (RowKey { kind: 0, id: 0 }, vec![7; 4092]);
    let mut checkpoint = Checkpoint::of(twin.next_meta());
    checkpoint.rows.push((key, Some(row.clone())));
    index.commit(checkpoint).unwrap();
    assert_eq!(index.row(key).unwrap(), Some(row));
}

#[test]
#[should_panic(expected = "without a gap")]
fn a_checkpoint_that_skips_a_number_panics() {
    let (_, index, twin) = created();
    let mut checkpoint = Checkpoint::of(twin.next_meta());
    checkpoint.meta.commits += 1;
    let _ = index.commit(checkpoint);
}

#[test]
#[should_panic(expected = "applied goes back")]
fn a_checkpoint_that_goes_back_in_the_journal_panics() {
    let (_, index, twin) = created();
    let mut checkpoint = Checkpoint::of(twin.next_meta());
    checkpoint.meta.applied = Lsn(8);
    let _ = index.commit(checkpoint);
}

#[test]
fn readers_go_on_while_commits_find_the_disk_full() {
    let (file, index, mut twin) = created();
    let small = twin.checkpoint(&mut Dice(5), 50);
    index.commit(small.clone()).unwrap();
    twin.apply(&small);
    file.set_capacity(file.len().unwrap());
    let index = Arc::new(index);
    let (reader, key) = (index.clone(), *twin.rows.keys().next().unwrap());
    let expected = twin.rows[&key].clone();
    let thread = crate::base::sync::spawn("reader", move || {
        for _ in 0..2000 {
            assert_eq!(reader.row(key).unwrap().as_ref(), Some(&expected));
        }
    });
    for _ in 0..5 {
        assert!(matches!(index.commit(large_checkpoint(&twin, 12)), Err(IndexError::StorageFull)));
    }
    thread.unwrap().join().unwrap();
    twin.assert_same_tables(&index);
}
