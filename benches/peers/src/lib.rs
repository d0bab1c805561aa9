//! The operations of other libraries that softlane has too, all called alike: logits in rows of so
//! many classes go in, results come out.

pub mod about;
pub mod candle;
pub mod rten;
