//! Env files are edited by us and read by the programs that people run: each reads the new token, and everything else as before.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use tokenwatch::renewal::sink::SinkError;
use tokenwatch::renewal::sink::env_file::edit;
use tokenwatch::settings::delivery::Dialect;
use tokenwatch::settings::source::env_value;

use crate::support::dialects::{CASES, Real, Values};

#[test]
fn every_file_is_as_it_should_be() {
    assert!(CASES.len() >= 40);
    for case in CASES {
        let edited = edit(case.before, "T", case.new, case.dialect);
        match (case.after, edited) {
            (Some(after), Ok(edited)) => assert_eq!(*edited, after, "{case:?}"),
            (None, Err(SinkError::Refused(text))) => {
                assert!(case.new.len() < 4 || !text.contains(case.new), "{text}: {case:?}");
            }
            (_, edited) => panic!("{case:?}: {edited:?}"),
        }
    }
}

#[test]
fn the_real_readers_read_the_new_token_and_nothing_else_anew() {
    let edits = CASES.iter().filter_map(|case| {
        Some(Edit {
            dialect: case.dialect,
            before: case.before.into(),
            new: case.new.into(),
            after: case.after?.into(),
        })
    });
    let edits: Vec<Edit> = edits.collect();
    for real in Real::ALL {
        let read = read_by(real, &edits);
        assert!(read >= 5, "{real:?} read {read} files only");
    }
}

/// Whatever the file and the value: what is not refused is read right.
#[test]
fn random_files_are_read_right_or_left_alone() {
    let mut runner = TestRunner::deterministic();
    let mut draw = |strategy: &BoxedStrategy<String>| strategy.new_tree(&mut runner).expect("a value").current();
    let (files, values) = (files(), values());
    let mut edits = Vec::new();
    for n in 0..1_000 {
        let (before, new) = (draw(&files), draw(&values));
        let dialect = Dialect::ALL[n % Dialect::ALL.len()];
        match edit(&before, "T", &new, dialect) {
            Ok(after) => {
                assert_eq!(env_value(&after, "T").as_deref(), Some(&new), "{before:?}");
                edits.push(Edit { dialect, before, new, after: after.to_string() });
            }
            Err(error) => assert!(matches!(error, SinkError::Refused(_)), "{error}"),
        }
    }
    assert!(edits.len() > 250, "{} of the files could be edited", edits.len());
    for real in Real::ALL {
        // A process a file takes its time; and of the files that nobody named a reader for, docker takes few.
        let most = if matches!(real, Real::Docker | Real::Bash | Real::Dash) { 16 } else { edits.len() };
        let mut mine: Vec<Edit> = edits.iter().filter(|edit| Real::of(edit.dialect).contains(&real)).cloned().collect();
        mine.sort_by_key(|edit| edit.dialect == Dialect::Any);
        mine.truncate(most);
        let read = read_by(real, &mine);
        assert!(read >= 12, "{real:?} read {read} files only");
    }
}

#[derive(Clone)]
struct Edit {
    dialect: Dialect,
    before: String,
    new: String,
    after: String,
}

/// Has the program read each file before and after, and says how many it judged.
fn read_by(real: Real, edits: &[Edit]) -> usize {
    let edits: Vec<&Edit> = edits.iter().filter(|edit| Real::of(edit.dialect).contains(&real)).collect();
    let texts = |text: fn(&Edit) -> &str| edits.iter().map(|edit| text(edit).to_owned()).collect::<Vec<_>>();
    let (before, after) = (real.read(&texts(|edit| &edit.before)), real.read(&texts(|edit| &edit.after)));
    let mut read = 0;
    for ((edit, before), after) in edits.iter().zip(before).zip(after) {
        let (Some(mut before), Some(mut after)): (Values, Values) = (before, after) else {
            assert_eq!(edit.dialect, Dialect::Any, "{real:?} takes no {:?}", edit.before);
            continue;
        };
        let (old, new) = (before.remove("T"), after.remove("T"));
        let ours = env_value(&edit.before, "T").map(|value| value.to_string());
        // Who reads another token today is not the reader that nobody named.
        if edit.dialect == Dialect::Any && (old.is_none() || (old != ours && ours.as_deref() != Some(""))) {
            continue;
        }
        if old.is_none() {
            continue;
        }
        assert_eq!(new.as_deref(), Some(edit.new.as_str()), "{real:?}: {:?} -> {:?}", edit.before, edit.after);
        // A value may be made of the token, in a shell.
        before.retain(|_, value| Some(&*value) != old.as_ref());
        after.retain(|key, _| before.contains_key(key));
        assert_eq!(before, after, "{real:?}: {:?} -> {:?}", edit.before, edit.after);
        read += 1;
    }
    read
}

/// Files of lines that people write, and some that nobody should.
fn files() -> BoxedStrategy<String> {
    let value = prop_oneof![
        4 => "[a-zA-Z0-9_.:/-]{0,8}",
        1 => "\"[a-z #='\n]{0,8}\"",
        1 => "'[a-z #=\"\n]{0,8}'",
        1 => "`[a-z ]{0,4}`",
        1 => "[a-z#é'\"]{0,6}",
    ];
    let line = prop_oneof![
        6 => ("(export )?", "[A-C]", value.clone()).prop_map(|(export, key, value)| format!("{export}{key}={value}")),
        1 => "# ?T=[a-z]{1,3}",
        1 => "[A-C]=\"one\nT=no\ntwo\"",
        1 => "[A-C]=one\\\\\nT=no",
        1 => Just(String::new()),
        1 => "[A-C]: [a-z]{1,4}",
        1 => "T=[a-z]{0,3}",
    ];
    let token = ("(export )?", "(T|T|T|T|T )", value, "( # note)?")
        .prop_map(|(export, key, value, note)| format!("{export}{key}={value}{note}"));
    let lines = (proptest::collection::vec(line.clone(), 0..3), token, proptest::collection::vec(line, 0..3));
    let whole = (lines, prop_oneof![4 => Just("\n"), 1 => Just("\r\n")], any::<bool>());
    whole
        .prop_map(|((above, token, below), end, closed)| {
            let lines: Vec<String> = above.into_iter().chain([token]).chain(below).collect();
            lines.join("\n").replace('\n', end) + if closed { end } else { "" }
        })
        .boxed()
}

fn values() -> BoxedStrategy<String> {
    prop_oneof![
        3 => "[a-zA-Z0-9]{1,12}",
        1 => "[a-z0-9_.:/@%+,=^~|-]{1,6}",
        2 => "[a-c #$'\"`\\\\;&!*?{}()<>|~=é-]{1,6}",
        1 => "[a-c]\\$\\{?[A-C]\\}?",
    ]
    .prop_filter("a token has no white space around it", |value| value.trim() == value)
    .boxed()
}
