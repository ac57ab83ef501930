//! Dead letters of the twin, and where they go.

use super::super::super::command::Reason;
use super::super::super::routing::Destination;
use super::{Arrivals, Stands, Twin, TwinLetter, TwinMessage, TwinQueue, Wish};

impl TwinQueue {
    pub(in super::super) fn letters(&self) -> Vec<TwinLetter> {
        let dead = self.in_order(|message| matches!(message.stands, Stands::Dead { .. }));
        let letter = |at: usize| {
            let TwinMessage { priority, offset, failed, ref errors, .. } = self.messages[at];
            let Stands::Dead { reason, at, .. } = self.messages[at].stands else { unreachable!("it is dead") };
            (priority, offset, reason, at, failed, errors.clone())
        };
        dead.into_iter().map(letter).collect()
    }

    /// Takes a dead letter out.
    pub(in super::super) fn take_letter(&mut self, priority: u8, offset: u64) -> Option<TwinMessage> {
        let is_it = |message: &TwinMessage| (message.priority, message.offset) == (priority, offset);
        let at = self.messages.iter().position(|m| is_it(m) && matches!(m.stands, Stands::Dead { .. }))?;
        Some(self.messages.remove(at))
    }

    pub(in super::super) fn letter(&self, priority: u8, offset: u64) -> Option<&TwinMessage> {
        self.message(priority, offset).filter(|message| matches!(message.stands, Stands::Dead { .. }))
    }
}

impl Twin {
    /// Letters that are to leave go to where their queue's dead go: to a queue, or to all that are bound.
    pub(in super::super) fn move_on(&mut self, number: u32, bound: &[u32], awaited: Option<u64>, arrivals: &Arrivals) {
        let target = self.queues[&number].options.dead_letters.target().map(|target| target.destination);
        let targets: Vec<u32> = match target {
            None => Vec::new(),
            Some(Destination::Queue(queue)) => vec![queue.0],
            Some(Destination::Exchange(_)) => bound.to_vec(),
        };
        let source = self.queues.get_mut(&number).expect("a queue of the world");
        let leaving = source.in_order(|message| matches!(message.stands, Stands::Dead { leaves: true, .. }));
        let mut moved = Vec::new();
        for at in leaving {
            let message = &mut source.messages[at];
            let Stands::Dead { reason, at, .. } = message.stands else { unreachable!("it is dead") };
            if targets.is_empty() {
                message.stands = Stands::Dead { reason, at, leaves: false };
                continue;
            }
            moved.push((message.clone(), reason));
            message.stands = Stands::Gone;
        }
        source.forget_gone();
        for (message, reason) in moved {
            targets.iter().for_each(|target| self.arrive(*target, number, &message, reason, awaited, arrivals));
        }
    }

    /// A letter comes from the queue in which it died; one that has come round is dead at once.
    fn arrive(
        &mut self,
        target: u32,
        from: u32,
        letter: &TwinMessage,
        reason: Reason,
        awaited: Option<u64>,
        arrivals: &Arrivals,
    ) {
        let TwinMessage { priority, group, max_attempts, id, mut deaths, mut left, .. } = letter.clone();
        deaths.push((from, reason));
        match reason {
            Reason::Rejected | Reason::AttemptsExhausted => left.clear(),
            _ => left.push(from),
        }
        let (wall, queue) = (self.wall, self.queues.get_mut(&target).expect("a queue of the world"));
        let wish = Wish { priority, group, max_attempts, id, ..Wish::default() };
        for (priority, offset) in queue.append(&[wish], wall, awaited.filter(|_| target == from), None) {
            queue.claim(priority, offset, arrivals[&(target, priority, offset)], &[]);
        }
        let is_cycle = left.contains(&target);
        let arrived = queue.messages.last_mut().expect("it was just added");
        (arrived.deaths, arrived.left) = (deaths, left);
        if is_cycle {
            arrived.stands = Stands::Dead { reason: Reason::Cycle, at: wall, leaves: false };
        }
    }
}
