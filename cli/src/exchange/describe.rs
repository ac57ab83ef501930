//! `towpath exchange list` and `towpath exchange describe`.

use serde::Serialize;
use towpath::{BoundTo, Database, Error, ExchangeDescription};

use super::{spoken, type_name};
use crate::exit::Failure;
use crate::output::{Output, counted, grouped, say_json, table};
use crate::place::Place;

pub(super) fn list(place: &Place, json: bool) -> Result<(), Failure> {
    let database = place.open_existing()?;
    let described = described(&database)?;
    database.close()?;
    let mut output = Output::new();
    if json {
        for exchange in &described {
            output.json(&Printed::new(exchange))?;
        }
    } else {
        let mut table = table(&["exchange", "type", "alternate", "bindings"], &[3]);
        for ExchangeDescription { name, options, bindings, .. } in &described {
            let alternate = options.alternate_name().unwrap_or_default();
            let bindings = grouped(bindings.len() as u64);
            table.add_row([name, type_name(options.exchange_type()), alternate, &bindings]);
        }
        output.line(table.to_string())?;
    }
    output.flush()
}

fn described(database: &Database) -> Result<Vec<ExchangeDescription>, Failure> {
    let mut described = Vec::new();
    for name in database.exchange_names()? {
        match database.exchange(&name).and_then(|exchange| exchange.describe()) {
            // It was deleted since its name was read.
            Err(Error::NotFound { .. }) => {}
            exchange => described.push(exchange?),
        }
    }
    Ok(described)
}

pub(super) fn describe(place: &Place, name: &str, json: bool) -> Result<(), Failure> {
    let database = place.open_existing()?;
    let exchange = database.exchange(name)?.describe()?;
    database.close()?;
    if json {
        return say_json(&Printed::new(&exchange));
    }
    let mut output = Output::new();
    output.line(format!("{}: {}.", spoken(name), sentence(&exchange)))?;
    if !exchange.bindings.is_empty() {
        let mut table = table(&["to", "name", "binding"], &[]);
        for (to, binding) in &exchange.bindings {
            let (to, name) = named(to);
            table.add_row([to, name, &binding.to_string()]);
        }
        output.line(table.to_string())?;
    }
    output.flush()
}

/// The options in a sentence, such as `topic; alternate rest; 2 bindings`.
fn sentence(exchange: &ExchangeDescription) -> String {
    let options = &exchange.options;
    let alternate = options.alternate_name().map_or_else(String::new, |name| format!("; alternate {name}"));
    let unroutable = if options.allows_unroutable() { "; allows what leads to no queue" } else { "" };
    let bindings = match exchange.name.as_str() {
        "" => "leads each message to the queue with its key as the name".to_owned(),
        _ => counted(exchange.bindings.len() as u64, "binding"),
    };
    format!("{}{alternate}{unroutable}; {bindings}", type_name(options.exchange_type()))
}

/// What a binding leads to: which kind of thing, and its name.
fn named(to: &BoundTo) -> (&'static str, &str) {
    match to {
        BoundTo::Queue(name) => ("queue", name),
        BoundTo::Exchange(name) => ("exchange", name),
        _ => ("unknown", ""),
    }
}

#[derive(Serialize)]
struct Printed<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    alternate: Option<&'a str>,
    allows_unroutable: bool,
    bindings: Vec<PrintedBinding<'a>>,
}

#[derive(Serialize)]
struct PrintedBinding<'a> {
    to: &'static str,
    name: &'a str,
    binding: String,
}

impl<'a> Printed<'a> {
    fn new(exchange: &'a ExchangeDescription) -> Printed<'a> {
        let ExchangeDescription { name, options, bindings, .. } = exchange;
        let printed = |(to, binding): &'a (BoundTo, towpath::Binding)| {
            let (to, name) = named(to);
            PrintedBinding { to, name, binding: binding.to_string() }
        };
        Printed {
            name,
            kind: type_name(options.exchange_type()),
            alternate: options.alternate_name(),
            allows_unroutable: options.allows_unroutable(),
            bindings: bindings.iter().map(printed).collect(),
        }
    }
}
