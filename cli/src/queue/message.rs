//! What the messages of a command have besides their bodies.

use std::time::Duration;

use clap::Args;
use towpath::Message;

use crate::dedup::LineIds;
use crate::units;

#[derive(Args)]
pub(crate) struct MessageOptions {
    /// From 0 to 31, the higher ones first [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=31))]
    priority: Option<u8>,
    /// How long each message waits before it is ready, such as 10m
    #[arg(long, value_name = "D", value_parser = units::duration)]
    delay: Option<Duration>,
    /// How long each message lives once it is ready
    #[arg(long, value_name = "D", value_parser = units::duration)]
    ttl: Option<Duration>,
    /// The group of the messages, of which one is in flight at a time
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    #[command(flatten)]
    pub(crate) ids: LineIds,
}

impl MessageOptions {
    /// A message with this body and id.
    pub(crate) fn message<'a>(&'a self, body: &'a [u8], id: Option<&'a str>) -> Message<'a> {
        let mut message = Message::new(body);
        if let Some(id) = id {
            message = message.id(id);
        }
        if let Some(priority) = self.priority {
            message = message.priority(priority);
        }
        if let Some(delay) = self.delay {
            message = message.delay(delay);
        }
        if let Some(ttl) = self.ttl {
            message = message.ttl(ttl);
        }
        match &self.group {
            Some(group) => message.group(group),
            None => message,
        }
    }
}
