//! What the fuzz targets share: how bytes become a call, and how its results are checked.

pub mod check;
pub mod input;

#[path = "../../tests/common/guard.rs"]
pub mod guard;
#[path = "../../tests/common/oracle.rs"]
pub mod oracle;
#[path = "../../tests/common/ulp.rs"]
pub mod ulp;
