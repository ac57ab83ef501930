//! What a database holds that programs of earlier versions do not understand: they must refuse it, by name, before they
//! meet it. So the control file says so, durably, before the first event that needs it.

use crate::storage::control::{ControlState, INCOMPATIBLE_KNOWN};

use super::Engine;
use super::fault::Fault;
use super::machine::Machine;

impl<M: Machine> Engine<M> {
    /// Says in the control file what is about to be written, unless it says so already.
    #[cold]
    pub(super) fn require_features(&self, features: u64) -> Result<(), Fault> {
        assert!(features & !INCOMPATIBLE_KNOWN == 0, "features {features:#x} that this program would refuse itself");
        let mut control = self.control.lock();
        self.check_alive()?;
        let incompatible = control.state().incompatible | features;
        if incompatible == control.state().incompatible {
            return Ok(());
        }
        let state = ControlState { incompatible, ..control.state().clone() };
        let written = control.write(state).map_err(Fault::io("writing the control file"));
        drop(control);
        self.poison_unless_full(written)
    }
}
