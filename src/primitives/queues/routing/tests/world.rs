//! Generated tables that come and go, generated messages: the table must come to the same as the twin.

use super::twin::Twin;
use super::*;

const EXCHANGES: u64 = 7;
const QUEUES: u64 = 12;

struct World {
    random: Random,
    table: Table,
    twin: Twin,
    /// No number is given twice.
    next_exchange: u32,
    scratch: Scratch,
}

impl World {
    fn new(seed: u64) -> World {
        let (table, twin) = (Table::default(), Twin::default());
        let mut world = World { random: Random::new(seed), table, twin, next_exchange: 1, scratch: Scratch::default() };
        (0..EXCHANGES).for_each(|_| world.declare());
        world
    }

    fn declare(&mut self) {
        let kind = match self.random.below(6) {
            0 => Kind::Direct,
            1 => Kind::Fanout,
            2 => Kind::Topic,
            3 => Kind::Headers,
            4 => Kind::ConsistentHash { header: None },
            _ => Kind::ConsistentHash { header: Some("a".into()) },
        };
        // One that is there, or comes next, or never was.
        let alternate = (self.random.below(2) == 0).then(|| ExchangeNumber(self.random.below(10) as u32));
        let number = ExchangeNumber(self.next_exchange);
        self.next_exchange += 1;
        self.table.declare(number, kind.clone(), alternate).unwrap();
        self.twin.exchanges.push((number, kind, alternate));
    }

    fn some_exchange(&mut self) -> (ExchangeNumber, Kind) {
        let at = self.random.below(self.twin.exchanges.len() as u64) as usize;
        let (number, kind, _) = &self.twin.exchanges[at];
        (*number, kind.clone())
    }

    fn binding(&mut self) -> Binding {
        let (exchange, kind) = self.some_exchange();
        let destination = match self.random.below(4) == 0 {
            true => Destination::Exchange(self.some_exchange().0),
            false => queue(self.random.below(QUEUES) as u32 * 0x0100_0001),
        };
        let condition = match kind {
            Kind::Direct => key(&self.text(&["a", "b"], 3)),
            Kind::Fanout => Condition::Always,
            Kind::Topic => pattern(&self.text(&["a", "b", "", "*", "#"], 5)),
            Kind::Headers => self.arguments(),
            Kind::ConsistentHash { .. } => Condition::Weight(1 + self.random.below(4) as u32),
        };
        binding(exchange, destination, condition)
    }

    fn text(&mut self, words: &[&str], most: u64) -> String {
        let text: Vec<&str> = (0..self.random.below(most + 1)).map(|_| self.random.pick(words)).collect();
        text.join(".")
    }

    fn headers(&mut self, most: u64) -> Vec<(&'static str, &'static str)> {
        let names = ["a", "b", "c", "x-a", "x-match", ""];
        let values = ["", "1", "2"];
        let count = self.random.below(most + 1);
        (0..count).map(|_| (self.random.pick(&names), self.random.pick(&values))).collect()
    }

    fn arguments(&mut self) -> Condition {
        let mode = self.random.pick(&[Mode::All, Mode::Any, Mode::AllWithX, Mode::AnyWithX]);
        asked(mode, &self.headers(3))
    }

    fn change(&mut self) {
        match self.random.below(40) {
            0 => {
                let queue = QueueNumber(self.random.below(QUEUES) as u32 * 0x0100_0001);
                let is_gone = |binding: &Binding| binding.destination == Destination::Queue(queue);
                assert_eq!(self.table.remove_queue(queue), self.twin.remove(is_gone));
            }
            1 => {
                let (exchange, _) = self.some_exchange();
                let to = Destination::Exchange(exchange);
                let count = self.twin.remove(|binding| binding.exchange == exchange || binding.destination == to);
                self.twin.exchanges.retain(|(number, ..)| *number != exchange);
                assert_eq!(self.table.remove_exchange(exchange), Ok(count));
                self.declare();
            }
            2 => {
                let alternate = (self.random.below(2) == 0).then(|| self.some_exchange().0);
                let at = self.random.below(EXCHANGES) as usize;
                self.twin.exchanges[at].2 = alternate;
                self.table.set_alternate(self.twin.exchanges[at].0, alternate).unwrap();
            }
            3..=15 if !self.twin.bindings.is_empty() => {
                let at = self.random.below(self.twin.bindings.len() as u64) as usize;
                let binding = self.twin.bindings[at].clone();
                assert_eq!(self.table.unbind(&binding), Ok(self.twin.unbind(&binding)));
            }
            16..=18 => {
                let binding = self.binding();
                assert_eq!(self.table.unbind(&binding), Ok(self.twin.unbind(&binding)));
            }
            _ => {
                let binding = self.binding();
                assert_eq!(self.table.bind(binding.clone()), Ok(self.twin.bind(binding)));
            }
        }
    }

    fn publish(&mut self) {
        let (exchange, _) = self.some_exchange();
        let key = self.text(&["a", "b", "", "*", "#", "never"], 6);
        let headers = self.headers(5);
        let headers: Vec<Header<'_>> = headers.iter().map(|(name, value)| header(name, value)).collect();
        let routes = self.table.route(exchange, &key, &headers, &mut self.scratch).unwrap();
        let routes: Vec<u32> = routes.iter().map(|queue| queue.0).collect();
        let expected = self.twin.route(exchange, &key, &headers);
        assert_eq!(routes, expected, "{exchange:?} {key:?} {headers:?}\n{:#?}", self.twin.bindings);
    }

    fn check_listings(&self) {
        for (exchange, ..) in &self.twin.exchanges {
            let listed: Vec<Binding> = self.table.bindings_of(*exchange).cloned().collect();
            assert_eq!(listed, self.twin.listed(|binding| binding.exchange == *exchange));
        }
        let exchanges = self.twin.exchanges.iter().map(|(number, ..)| Destination::Exchange(*number));
        let queues = (0..QUEUES as u32).map(|number| queue(number * 0x0100_0001));
        for destination in exchanges.chain(queues) {
            let listed: Vec<Binding> = self.table.bindings_to(destination).cloned().collect();
            assert_eq!(listed, self.twin.listed(|binding| binding.destination == destination));
        }
        assert_eq!(self.table.binding_count(), self.twin.bindings.len());
    }
}

#[test]
fn the_table_comes_to_the_same_as_the_twin() {
    for seed in 0..240 {
        let mut world = World::new(seed);
        for round in 0..400 {
            world.change();
            for _ in 0..4 {
                world.publish();
            }
            if round % 40 == 0 {
                world.check_listings();
            }
        }
    }
}

#[test]
fn the_order_in_which_bindings_came_and_went_makes_no_difference() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        (0..300).for_each(|_| world.change());
        let mut again = Table::default();
        for (number, kind, alternate) in &world.twin.exchanges {
            again.declare(*number, kind.clone(), *alternate).unwrap();
        }
        for binding in world.twin.bindings.iter().rev() {
            assert_eq!(again.bind(binding.clone()), Ok(Change::Done));
        }
        world.table = again;
        (0..200).for_each(|_| world.publish());
        world.check_listings();
    }
}

#[test]
fn patterns_match_as_by_trying_everything() {
    let words = ["a", "b", "*", "#"];
    let mut random = Random::new(1);
    for _ in 0..4000 {
        let mut text = |words: &[&str], most| {
            let text: Vec<&str> = (0..random.below(most)).map(|_| random.pick(words)).collect();
            text.join(".")
        };
        let (pattern_text, keys) = (text(&words, 8), [(); 8].map(|()| text(&words[..2], 11)));
        let mut table = table(&[(X, Kind::Topic)]);
        let bound = table.bind(binding(X, queue(1), pattern(&pattern_text)));
        assert_eq!(bound, Ok(Change::Done));
        for key in keys {
            let split = |text: &'_ str| -> Vec<String> {
                text.split('.').filter(|_| !text.is_empty()).map(str::to_owned).collect()
            };
            let (pattern, words) = (split(&pattern_text), split(&key));
            let [pattern, words] = [&pattern, &words].map(|all| all.iter().map(String::as_str).collect::<Vec<_>>());
            let expected = super::twin::matches(&pattern, &words);
            assert_eq!(!routed(&table, X, &key).is_empty(), expected, "{pattern_text:?} {key:?}");
        }
    }
}
