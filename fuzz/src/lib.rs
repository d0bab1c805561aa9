//! What the fuzz targets run: how bytes become a call, and how its results are checked.

pub mod attention;
pub mod backend;
pub mod binary_cross_entropy;
pub mod check;
pub mod code;
pub mod cross_entropy;
pub mod formula;
pub mod input;
pub mod linear;
pub mod options;
pub mod reducing;
pub mod seeds;
pub mod slices;
pub mod softmax;

#[path = "../../tests/common/bounds.rs"]
pub mod bounds;
#[path = "../../tests/common/options.rs"]
pub mod combined;
#[path = "../../tests/common/guard.rs"]
pub mod guard;
#[path = "../../tests/common/inputs.rs"]
pub mod inputs;
#[path = "../../tests/common/oracle.rs"]
pub mod oracle;
#[path = "../../tests/common/ulp.rs"]
pub mod ulp;

use code::{arbitrary, coded};

coded! {
    /// An input of the target `softmax`: softmax and its kin, and what they are made of.
    #[expect(clippy::large_enum_variant, reason = "there is one at a time")]
    pub enum Forward {
        10 => Rows(input: softmax::Input),
        5 => Slice(input: slices::Input),
        1 => Backend(input: backend::Input),
    }
}
arbitrary! { Forward }

impl Forward {
    /// Runs it and checks what comes of it.
    pub fn run(&self) {
        match self {
            Self::Rows(input) => input.run(),
            Self::Slice(input) => input.run(),
            Self::Backend(input) => input.run(),
        }
    }

    /// The same with a batch that is large enough for several threads.
    pub fn spread(mut self) -> Self {
        match &mut self {
            Self::Rows(input) => input.shape.spread(),
            Self::Slice(input) => input.shape.spread(),
            Self::Backend(_) => (),
        }
        self
    }
}

coded! {
    /// An input of the target `cross_entropy`: the losses.
    pub enum Loss {
        2 => Classes(input: cross_entropy::Input),
        1 => Labels(input: binary_cross_entropy::Input),
    }
}
arbitrary! { Loss }

impl Loss {
    /// Runs it and checks what comes of it.
    pub fn run(&self) {
        match self {
            Self::Classes(input) => input.run(),
            Self::Labels(input) => input.run(),
        }
    }

    /// The same with a batch that is large enough for several threads.
    pub fn spread(mut self) -> Self {
        match &mut self {
            Self::Classes(input) => input.shape.spread(),
            Self::Labels(input) => input.shape.spread(),
        }
        self
    }
}

coded! {
    /// An input of the target `threads`: any call, on a batch that is large enough for several of them.
    pub enum Spread {
        1 => Forward(input: Forward),
        1 => Loss(input: Loss),
    }
}
arbitrary! { Spread }

impl Spread {
    /// Runs it and checks what comes of it.
    pub fn run(&self) {
        match self {
            Self::Forward(input) => input.clone().spread().run(),
            Self::Loss(input) => input.clone().spread().run(),
        }
    }
}
