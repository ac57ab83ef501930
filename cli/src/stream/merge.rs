//! Several partitions in the order in which their records were appended.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use towpath::Reader;

use super::row::Row;
use crate::exit::Failure;

/// Records fetched from one partition at a time.
const BATCH_RECORDS: usize = 1_000;

/// Readers merged by LSN, up to the ends that they find.
pub(crate) struct Merge {
    cursors: Vec<Cursor>,
    /// The LSN of every cursor's next row. Rows of one batch may share an LSN; among them the lower cursor goes first.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
}

struct Cursor {
    reader: Reader,
    rows: VecDeque<Row>,
}

impl Merge {
    pub(crate) fn new(readers: Vec<Reader>) -> Result<Merge, Failure> {
        let cursors: Vec<Cursor> = readers.into_iter().map(|reader| Cursor { reader, rows: VecDeque::new() }).collect();
        let mut merge = Merge { heads: BinaryHeap::with_capacity(cursors.len()), cursors };
        for cursor in 0..merge.cursors.len() {
            merge.advance(cursor)?;
        }
        Ok(merge)
    }

    pub(crate) fn next(&mut self) -> Result<Option<Row>, Failure> {
        let Some(Reverse((_, cursor))) = self.heads.pop() else { return Ok(None) };
        let row = self.cursors[cursor].rows.pop_front();
        self.advance(cursor)?;
        Ok(row)
    }

    /// Enters the cursor's next row into the heads, if it has one.
    fn advance(&mut self, cursor: usize) -> Result<(), Failure> {
        let Cursor { reader, rows } = &mut self.cursors[cursor];
        if rows.is_empty()
            && let Some(records) = reader.try_receive(BATCH_RECORDS)?
        {
            rows.extend(records.iter().map(|record| Row::new(&record)));
        }
        self.heads.extend(rows.front().map(|row| Reverse((row.lsn, cursor))));
        Ok(())
    }
}
