//! Headers exchanges, rule by rule.

use super::super::headers::ByArgument;
use super::*;

type Pairs = &'static [(&'static str, &'static str)];

fn is_match(mode: Mode, arguments: Pairs, headers: Pairs) -> bool {
    let mut table = table(&[(X, Kind::Headers)]);
    bind(&mut table, X, queue(1), asked(mode, arguments));
    let headers: Vec<Header<'_>> = headers.iter().map(|(name, value)| header(name, value)).collect();
    !routed_with(&table, X, "any.key", &headers).is_empty()
}

#[test]
fn arguments_are_met_as_the_mode_says() {
    use Mode::{All, AllWithX, Any, AnyWithX};
    /// What it says, a binding, headers that match it, and headers that do not.
    type Rule = (&'static str, Mode, Pairs, &'static [Pairs], &'static [Pairs]);
    let rules: [Rule; 14] = [
        (
            "all: each of them",
            All,
            &[("a", "1"), ("b", "2")],
            &[&[("a", "1"), ("b", "2")], &[("c", ""), ("b", "2"), ("a", "1")]],
            &[&[], &[("a", "1")], &[("a", "1"), ("b", "3")], &[("a", "2"), ("b", "1")], &[("A", "1"), ("b", "2")]],
        ),
        (
            "any: one of them",
            Any,
            &[("a", "1"), ("b", "2")],
            &[&[("a", "1")], &[("b", "2"), ("a", "3")], &[("a", "1"), ("b", "2")]],
            &[&[], &[("a", "2"), ("b", "1")], &[("c", "1")]],
        ),
        ("an empty value: that there is one", All, &[("a", "")], &[&[("a", "")], &[("a", "1")]], &[&[], &[("b", "")]]),
        ("so too for any", Any, &[("a", ""), ("b", "2")], &[&[("a", "7")], &[("b", "2")]], &[&[("b", "1")]]),
        ("a value is not met by an empty one", All, &[("a", "1")], &[], &[&[("a", "")]]),
        ("any duplicate may match", All, &[("a", "2")], &[&[("a", "1"), ("a", "2")], &[("a", "2"), ("a", "1")]], &[]),
        (
            "and each argument by another of them",
            All,
            &[("a", "1"), ("a", "2")],
            &[&[("a", "2"), ("a", "3"), ("a", "1")]],
            &[&[("a", "1")], &[("a", "1"), ("a", "1")]],
        ),
        ("all without arguments: everything", All, &[], &[&[], &[("a", "1")]], &[]),
        ("any without arguments: nothing", Any, &[], &[], &[&[], &[("a", "1")]]),
        ("all leaves `x-` out", All, &[("a", "1"), ("x-b", "2"), ("x-match", "any")], &[&[("a", "1")]], &[&[]]),
        ("and may have nothing left", All, &[("x-b", "2")], &[&[], &[("x-b", "3")]], &[]),
        ("any leaves `x-` out", Any, &[("a", "1"), ("x-b", "2")], &[&[("a", "1")]], &[&[("x-b", "2")]]),
        (
            "all-with-x does not",
            AllWithX,
            &[("a", "1"), ("x-b", "2"), ("x-match", "all-with-x")],
            &[&[("a", "1"), ("x-b", "2")]],
            &[&[("a", "1")], &[("a", "1"), ("x-b", "3")]],
        ),
        ("nor any-with-x", AnyWithX, &[("a", "1"), ("x-b", "2")], &[&[("x-b", "2")], &[("a", "1")]], &[&[("x-b", "")]]),
    ];
    for (rule, mode, arguments, matching, others) in rules {
        for headers in matching {
            assert!(is_match(mode, arguments, headers), "{rule}: {headers:?}");
        }
        for headers in others {
            assert!(!is_match(mode, arguments, headers), "{rule}: not {headers:?}");
        }
    }
}

#[test]
fn a_mode_goes_by_its_name() {
    for (name, mode) in Mode::KNOWN.iter().zip([Mode::All, Mode::Any, Mode::AllWithX, Mode::AnyWithX]) {
        assert_eq!((Mode::parse(name), mode.name()), (Ok(mode), *name));
    }
    for given in ["", "ALL", "most", "all "] {
        let refusal = Mode::parse(given).unwrap_err();
        assert_eq!(refusal, Refusal::UnknownMode { given: given.into() });
        let expected = "it is one of all, any, all-with-x, any-with-x";
        assert!(refusal.to_string().contains(&format!("`{given}`")) && refusal.to_string().ends_with(expected));
    }
}

#[test]
fn arguments_are_a_set_and_those_that_do_not_count_make_another_binding() {
    let mut table = table(&[(X, Kind::Headers)]);
    bind(&mut table, X, queue(1), asked(Mode::All, &[("a", "1"), ("b", "2")]));
    let same = binding(X, queue(1), asked(Mode::All, &[("b", "2"), ("a", "1"), ("b", "2")]));
    assert_eq!(table.bind(same), Ok(Change::AlreadySo));
    let noted = binding(X, queue(1), asked(Mode::All, &[("a", "1"), ("b", "2"), ("x-note", "3")]));
    assert_eq!(table.bind(noted.clone()), Ok(Change::Done));
    let headers = [header("a", "1"), header("b", "2")];
    assert_eq!(routed_with(&table, X, "", &headers), [1]);
    assert_eq!(table.unbind(&noted), Ok(Change::Done));
    assert_eq!(routed_with(&table, X, "", &headers), [1]);
}

fn steps(bindings: &ByArgument, headers: &[Header<'_>]) -> usize {
    let mut scratch = Scratch::default();
    bindings.reach(headers, &mut scratch.met, &mut scratch.reached).unwrap();
    scratch.reached.steps()
}

fn arguments(mode: Mode, pairs: &[(&str, &str)]) -> Arguments {
    Arguments::new(mode, pairs.iter().map(|(name, value)| header(name, value)))
}

#[test]
fn only_bindings_with_an_argument_that_is_met_are_looked_at() {
    let mut bindings = ByArgument::default();
    for number in 0..10_000 {
        let customer = number.to_string();
        bindings.insert(&arguments(Mode::All, &[("type", "order"), ("customer", &customer)]), queue(1));
        bindings.insert(&arguments(Mode::Any, &[("region", &customer), ("account", &customer)]), queue(2));
    }
    let headers = [header("type", "order"), header("customer", "77"), header("region", "8"), header("account", "8")];
    let (names, different, posted) = bindings.sizes();
    assert_eq!((names, different, posted), (4, 30_001, 30_000));
    // The first binding of all had no rarer argument than `type`.
    assert!(steps(&bindings, &headers) <= headers.len() + 2 * 4, "{} steps", steps(&bindings, &headers));
}

#[test]
fn nothing_is_left_of_bindings_that_are_gone() {
    let mut random = Random::new(3);
    let mut bindings = ByArgument::default();
    let mut inserted = Vec::new();
    for _ in 0..2000 {
        if inserted.len() > 60 || (!inserted.is_empty() && (random.below(3) == 0)) {
            let at = random.below(inserted.len() as u64) as usize;
            let (arguments, number) = inserted.swap_remove(at);
            bindings.remove(&arguments, number);
        } else {
            let mode = random.pick(&[Mode::All, Mode::Any, Mode::AllWithX, Mode::AnyWithX]);
            let pairs: Vec<(&str, &str)> =
                (0..random.below(4)).map(|_| (random.pick(&["a", "b", "x-c"]), random.pick(&["", "1", "2"]))).collect();
            let arguments = arguments(mode, &pairs);
            let number = bindings.insert(&arguments, queue(1));
            inserted.push((arguments, number));
        }
    }
    inserted.iter().for_each(|(arguments, number)| bindings.remove(arguments, *number));
    assert_eq!(bindings.sizes(), (0, 0, 0));
}
