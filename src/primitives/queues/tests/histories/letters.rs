//! Letters among all the rest: those that are let go, sent again, and moved on.

use super::super::super::command::Reason;
use super::super::super::routing::ExchangeNumber;
use super::*;

impl History {
    /// Where dead letters of a queue with this name may go.
    pub(super) fn targets(&self, name: &str) -> Vec<Destination> {
        let others =
            self.numbers.iter().filter(|(other, number)| **other != name && self.twin.queues.contains_key(&number.0));
        let exchange: ExchangeNumber = self.exchange();
        others.map(|(_, number)| Destination::Queue(*number)).chain([Destination::Exchange(exchange)]).collect()
    }

    /// What messages say of their deaths is what the twin saw.
    pub(super) fn assert_histories_agree(&self) {
        for (number, twin) in &self.twin.queues {
            for ((priority, offset), history) in self.world.histories(QueueNumber(*number)) {
                let message = twin.message(priority, offset).expect("it waits");
                let mut expected: Vec<(String, Reason, u64)> = Vec::new();
                for (queue, reason) in message.deaths.iter().rev() {
                    let name = self.name_of(*queue);
                    match expected.iter_mut().find(|(other, of, _)| *other == name && of == reason) {
                        Some((_, _, count)) => *count += 1,
                        None => expected.push((name, *reason, 1)),
                    }
                }
                expected.truncate(HISTORY_DEATHS_MAX);
                let told: Vec<_> = history.deaths.iter().map(|d| (d.queue.clone(), d.reason, d.count)).collect();
                assert_eq!(told, expected, "{number} {priority} {offset}");
            }
        }
    }

    fn name_of(&self, queue: u32) -> String {
        self.once_named[&queue].to_owned()
    }

    /// Some letters of a queue, and perhaps one that is none.
    fn some_letters(&mut self, queue: QueueNumber) -> Vec<(u8, u64)> {
        let letters = self.twin.queues[&queue.0].letters();
        let few: Vec<_> = letters.iter().filter(|_| self.random.chance(100)).map(|told| (told.0, told.1)).collect();
        few
    }

    pub(super) fn bury(&mut self) {
        let queue = self.queue();
        let chosen = self.some_letters(queue);
        let mut places: Vec<Place> = chosen.iter().map(|(p, offset)| self.world.place(queue, *p, *offset)).collect();
        let lane = self.world.lane(queue, 4).expect("the priority of a new queue");
        places.push(Place { lane, offset: 1 << 40 });
        let outcome = self.world.submit(&Command::Bury { queue, letters: &places });
        if chosen.is_empty() {
            assert!(matches!(outcome, Outcome::Refuse { refusal: Refusal::Stale, .. }));
            return;
        }
        assert_eq!(outcome, Outcome::Accept(Reply::Settled { stale: vec![chosen.len() as u32] }));
        let twin = self.twin.queues.get_mut(&queue.0).expect("a queue of the world");
        chosen.iter().for_each(|(priority, offset)| drop(twin.take_letter(*priority, *offset)));
    }

    pub(super) fn redrive(&mut self) {
        let queue = self.queue();
        let mut chosen = self.some_letters(queue);
        chosen.reverse();
        if chosen.is_empty() {
            return;
        }
        let places: Vec<Place> = chosen.iter().map(|(p, offset)| self.world.place(queue, *p, *offset)).collect();
        let to = if self.random.chance(192) { queue } else { self.queue() };
        let twin = &self.twin.queues[&queue.0];
        let letter = |(priority, offset): &(u8, u64)| twin.letter(*priority, *offset).expect("a letter").clone();
        let old: Vec<_> = chosen.iter().map(letter).collect();
        let wish = |old: &super::super::model::TwinMessage| {
            let (priority, group, id) = (old.priority, old.group.clone(), old.id);
            Wish { priority, group, id, ..Wish::default() }
        };
        let wishes: Vec<Wish> = old.iter().map(wish).collect();
        let messages: Vec<Message<'_>> = wishes.iter().map(|wish| self.message(wish)).collect();
        let barrier = self.world.is_sync.then_some(self.world.next_frame.0 + 64);
        self.world.set_awaited(queue, false);
        let (letters, destination) = (&places[..], Destination::Queue(to));
        let redrive = Command::Redrive { queue, letters, messages: &messages, to: destination };
        let frame = self.world.next_frame.0;
        let outcome = self.world.submit(&redrive);
        let wall = self.twin.wall;
        let target = self.twin.queues.get_mut(&to.0).expect("a queue of the world");
        let (wishes, living) = (target.ranked(&wishes), target.living_ids());
        if !target.make_room(chosen.len() as u64, wall) {
            assert!(matches!(outcome, Outcome::Refuse { refusal: Refusal::Full { .. }, .. }), "{outcome:?}");
            return;
        }
        assert_eq!(outcome, Outcome::Accept(Reply::Settled { stale: Vec::new() }));
        let places = target.append(&wishes, wall, None, barrier);
        places.into_iter().for_each(|(priority, offset)| target.claim(priority, offset, frame, &living));
        let twin = self.twin.queues.get_mut(&queue.0).expect("a queue of the world");
        chosen.iter().for_each(|(priority, offset)| drop(twin.take_letter(*priority, *offset)));
    }
}
