//! Backends by name: which names are taken, and what the others are told.

use softlane::{Backend, Error};

use crate::code::coded;

coded! {
    /// A name.
    pub enum Input {
        /// Of a backend, with something appended.
        1 => Known(which: u8, more: Vec<u8>),
        1 => Any(name: Vec<u8>),
        /// Long ones need few bytes.
        1 => Repeated(times: u8, name: Vec<u8>),
    }
}

impl Input {
    fn name(&self) -> String {
        const KNOWN: [&str; 4] = ["scalar", "portable", "avx2", "avx512"];
        match self {
            Self::Known(which, more) => {
                let name = KNOWN[usize::from(*which) % KNOWN.len()];
                name.to_owned() + &String::from_utf8_lossy(more)
            }
            Self::Any(name) => String::from_utf8_lossy(name).into_owned(),
            Self::Repeated(times, name) => {
                String::from_utf8_lossy(name).repeat(usize::from(*times))
            }
        }
    }

    /// Asks for it and checks the answer.
    pub fn run(&self) {
        let name = &self.name()[..];
        let names: Vec<_> = Backend::available().map(Backend::name).collect();
        match Backend::named(name) {
            Ok(backend) => {
                assert_eq!(backend.name(), name);
                assert!(names.contains(&name));
            }
            Err(error) => {
                assert!(!names.contains(&name));
                let Error::Backend { name: given } = error else {
                    panic!("unexpected: {error}");
                };
                let (given, list) = (given.as_str(), names.join(", "));
                let message = format!("backend {given:?} is not supported here; supported: {list}");
                assert_eq!(error.to_string(), message);
                assert_is_cut(name, given);
            }
        }
    }
}

/// Names of up to 32 bytes are kept, others lose no more than they must.
fn assert_is_cut(name: &str, given: &str) {
    if name.len() <= 32 {
        assert_eq!(given, name);
        return;
    }
    let kept = given.strip_suffix('…').expect("a sign that it is cut");
    let rest = name.strip_prefix(kept).expect("the beginning of the name");
    let next = rest.chars().next().map_or(0, char::len_utf8);
    let room = 32 - '…'.len_utf8();
    assert!(kept.len() <= room && kept.len() + next > room);
}
