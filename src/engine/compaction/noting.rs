//! The first stage of a pass: which keys stand where in the part of a log that no pass has seen.

use crate::base::run::Run;
use crate::engine::Engine;
use crate::engine::fault::Fault;
use crate::engine::keeper::Keeper;
use crate::engine::machine::Machine;
use crate::journal::compactor::SealedRun;

use super::due::RUNS_PER_PAGE;
use super::{Aim, Pass};

impl<M: Machine> Engine<M> {
    /// Notes the keys of runs with about so many bytes.
    pub(super) fn note_some(&self, keeper: &mut Keeper, bytes: u64) -> Result<(), Fault> {
        let Some(mut pass) = keeper.compacting.pass.take() else { return Ok(()) };
        let mut left = bytes;
        while let Aim::Superseded { through, sealed_end, noted, .. } = &mut pass.aim {
            let page = match *noted {
                true => break,
                false => self.index.runs(pass.log, *through, RUNS_PER_PAGE)?,
            };
            let runs: Vec<Run> = page.into_iter().take_while(|run| run.first < *sealed_end).collect();
            if runs.is_empty() {
                (*through, *noted) = (*sealed_end, true);
                break;
            }
            for run in runs {
                self.note_run(keeper, &mut pass, &run);
                left = left.saturating_sub(run.bytes);
                if left == 0 || matches!(pass.aim, Aim::Superseded { noted: true, .. }) {
                    keeper.compacting.pass = Some(pass);
                    return Ok(());
                }
            }
        }
        keeper.compacting.pass = Some(pass);
        Ok(())
    }

    /// What cannot be read supersedes nothing.
    fn note_run(&self, keeper: &mut Keeper, pass: &mut Pass, run: &Run) {
        let Aim::Superseded { map, through, noted, .. } = &mut pass.aim else { return };
        if keeper.parked.contains(&run.segment) {
            *through = run.end;
            return;
        }
        let from = *through;
        let mut full_at = None;
        let place = (run.log, run.first);
        let read = SealedRun::open(&self.segments, run.segment, run.slot, place, self.database_id).and_then(|sealed| {
            sealed.each_record(self.segments.geometry(), self.seed, M::visit_records, &mut |_, record| {
                let Some(key) = record.key.filter(|_| record.offset >= from && full_at.is_none()) else { return };
                if !map.note(key, record.offset) {
                    full_at = Some(record.offset);
                }
            })
        });
        if read.is_err() {
            keeper.parked.insert(run.segment);
        }
        *noted = full_at.is_some();
        *through = full_at.unwrap_or(run.end);
    }
}
