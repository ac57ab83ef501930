//! What was asked and not answered yet, as it was sent: if the host goes away, the next is asked the same.

use std::collections::{BTreeMap, VecDeque};

use crate::base::bounds::{REQUESTS_REMEMBERED_MAX, UNANSWERED_BYTES_MAX};
use crate::base::sync::Arc;

use super::super::operation::Kind;
use super::super::wire::LENGTH_BYTES;
use super::slot::Slot;

/// A request, and where its answer goes.
#[derive(Debug)]
pub(super) struct Request {
    /// The whole frame.
    pub(super) frame: Vec<u8>,
    pub(super) slot: Arc<Slot>,
}

/// All requests without an answer. Writes lie in the order of their sequences, with holes where one was answered before
/// earlier ones.
#[derive(Default, Debug)]
pub(super) struct Unanswered {
    first_write: u64,
    writes: VecDeque<Option<Request>>,
    write_bytes: usize,
    /// Writes below have been given to a connection: they may have been sent, or may be any moment.
    sent_below: u64,
    next_question: u64,
    questions: BTreeMap<u64, Request>,
}

impl Unanswered {
    /// Whether another write would be further from the first unanswered one than the host remembers, or too much is
    /// kept already.
    pub(super) fn is_full(&self) -> bool {
        self.writes.len() as u64 >= REQUESTS_REMEMBERED_MAX || self.write_bytes >= UNANSWERED_BYTES_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.questions.is_empty()
    }

    pub(super) fn count_writes(&self) -> usize {
        self.writes.len()
    }

    pub(super) fn count_questions(&self) -> usize {
        self.questions.len()
    }

    /// Every reply below is here.
    pub(super) fn seen_below(&self) -> u64 {
        self.first_write
    }

    pub(super) fn next_write(&self) -> u64 {
        self.first_write + self.writes.len() as u64
    }

    pub(super) fn next_question(&mut self) -> u64 {
        self.next_question += 1;
        self.next_question
    }

    /// The write with the sequence that `next_write` told.
    pub(super) fn push_write(&mut self, request: Request) {
        self.write_bytes += request.frame.len();
        self.writes.push_back(Some(request));
    }

    pub(super) fn push_question(&mut self, number: u64, request: Request) {
        self.questions.insert(number, request);
    }

    /// The slot of the earliest write without an answer.
    pub(super) fn first_slot(&self) -> Option<Arc<Slot>> {
        self.writes.front().and_then(Option::as_ref).map(|request| request.slot.clone())
    }

    pub(super) fn take_write(&mut self, sequence: u64) -> Option<Request> {
        let at = usize::try_from(sequence.checked_sub(self.first_write)?).ok()?;
        let request = self.writes.get_mut(at)?.take();
        self.write_bytes -= request.as_ref().map_or(0, |request| request.frame.len());
        while matches!(self.writes.front(), Some(None)) {
            self.writes.pop_front();
            self.first_write += 1;
        }
        request
    }

    pub(super) fn take_question(&mut self, number: u64) -> Option<Request> {
        self.questions.remove(&number)
    }

    /// Takes a write back that was never given to a connection. `false` if it was.
    pub(super) fn withdraw_write(&mut self, sequence: u64) -> bool {
        sequence >= self.sent_below && self.take_write(sequence).is_some()
    }

    /// The write with this sequence was, and so was all before it.
    pub(super) fn sent_through(&mut self, sequence: u64) {
        self.sent_below = self.sent_below.max(sequence + 1);
    }

    pub(super) fn sent(&mut self) {
        self.sent_below = self.next_write();
    }

    /// Takes out the writes that may have been applied by a host that nobody can ask any more.
    pub(super) fn take_sent_writes(&mut self) -> Vec<Request> {
        (self.first_write..self.sent_below).filter_map(|sequence| self.take_write(sequence)).collect()
    }

    /// Every unanswered write with its sequence, in order.
    pub(super) fn writes(&self) -> impl Iterator<Item = (u64, &Request)> {
        (self.first_write..).zip(&self.writes).filter_map(|(sequence, request)| Some((sequence, request.as_ref()?)))
    }

    pub(super) fn questions(&self) -> impl Iterator<Item = &Request> {
        self.questions.values()
    }

    pub(super) fn take_questions(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.questions).into_values().collect()
    }

    /// Takes out those that wait for news of a queue.
    pub(super) fn take_watches_of_queues(&mut self) -> Vec<Request> {
        let is_watch = |request: &Request| request.frame.get(LENGTH_BYTES) == Some(&(Kind::WatchQueue as u8));
        let watches = self.questions.iter().filter(|(_, request)| is_watch(request));
        let numbers: Vec<u64> = watches.map(|(number, _)| *number).collect();
        numbers.into_iter().filter_map(|number| self.take_question(number)).collect()
    }

    pub(super) fn take_all(&mut self) -> Vec<Request> {
        let end = self.next_write();
        let mut all: Vec<Request> = (self.first_write..end).filter_map(|sequence| self.take_write(sequence)).collect();
        all.extend(self.take_questions());
        all
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn request() -> Request {
        Request { frame: vec![0; 1 << 20], slot: Slot::new() }
    }

    #[test]
    fn writes_without_an_answer_are_bounded_in_bytes_too() {
        let mut unanswered = Unanswered::default();
        while !unanswered.is_full() {
            unanswered.push_write(request());
        }
        assert_eq!(unanswered.count_writes(), UNANSWERED_BYTES_MAX >> 20);
        assert!(unanswered.take_write(3).is_some());
        assert!(!unanswered.is_full());
        unanswered.take_all();
        assert_eq!(unanswered.write_bytes, 0);
    }

    #[test]
    fn what_is_seen_ends_before_the_first_write_without_an_answer() {
        let mut unanswered = Unanswered::default();
        for _ in 0..3 {
            unanswered.push_write(request());
        }
        assert!(unanswered.take_write(1).is_some() && unanswered.take_write(1).is_none());
        assert_eq!((unanswered.seen_below(), unanswered.next_write()), (0, 3));
        assert!(unanswered.take_write(0).is_some());
        assert_eq!((unanswered.seen_below(), unanswered.next_write()), (2, 3));
        assert!(unanswered.take_write(7).is_none() && unanswered.take_write(0).is_none());
    }

    #[test]
    fn a_write_can_be_taken_back_until_it_is_sent() {
        let mut unanswered = Unanswered::default();
        unanswered.push_write(request());
        unanswered.sent();
        unanswered.push_write(request());
        assert!(!unanswered.withdraw_write(0));
        assert!(unanswered.withdraw_write(1));
        assert_eq!(unanswered.take_sent_writes().len(), 1);
        assert!(unanswered.is_empty());
    }

    #[test]
    fn a_write_that_this_process_answers_itself_can_no_more_be_taken_back_than_one_that_was_sent() {
        let mut unanswered = Unanswered::default();
        (0..3).for_each(|_| unanswered.push_write(request()));
        unanswered.sent_through(1);
        assert!(!unanswered.withdraw_write(1));
        assert!(unanswered.withdraw_write(2));
        assert_eq!(unanswered.take_sent_writes().len(), 2);
    }
}
