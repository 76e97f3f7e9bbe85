//! The rules of Sweetheart: ids, what a character may be called, and how far her set-up has come.
//!
//! Pure: no I/O, no async, no HTTP, no AWS. A value of a type from here is known to be good.

mod adults;
pub mod generation;
pub mod grid;
pub mod id;
pub mod influencer;
pub mod text;
