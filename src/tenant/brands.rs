//! The brands of a process: those that run, and why others cannot be served.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::tenant::brand::Brand;

/// The brands of a process, which reloads, failures and recoveries replace.
pub type SharedBrands = Arc<ArcSwap<Brands>>;

/// The brands of a process.
#[derive(Default)]
pub struct Brands {
    pub running: Vec<Arc<Brand>>,
    pub failures: Vec<BrandFailure>,
}

/// Why a brand cannot be served. A brand that lacks only its database is also among [`Brands::running`].
pub struct BrandFailure {
    pub name: String,
    /// One line.
    pub reason: String,
}
