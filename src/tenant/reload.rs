//! The brands' files: read at start, for a reload, and to retry a brand that cannot be served.
//!
//! # Invariants
//!
//! The configuration of a brand takes effect as a whole or not at all.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{self, BrandConfig, LoadedBrands};
use crate::tenant::brand::Brand;

/// The directories of the brands' files and secrets.
#[derive(Debug, Clone)]
pub struct ConfigSource {
    pub brands: PathBuf,
    pub credentials: Option<PathBuf>,
}

impl ConfigSource {
    /// The brands whose files are valid, and the errors of the other files, one line each.
    pub fn read_each(&self) -> (Vec<BrandConfig>, Vec<String>) {
        let (brands, errors) = config::load_each(&self.brands, self.credentials.as_deref());
        (brands, errors.iter().map(ToString::to_string).collect())
    }

    /// # Errors
    /// All errors of all files, one line each.
    pub fn read(&self) -> Result<Vec<BrandConfig>, String> {
        let (brands, errors) = self.read_each();
        if errors.is_empty() { Ok(brands) } else { Err(errors.join("\n")) }
    }

    /// The brands with valid files, and those with invalid ones.
    ///
    /// # Errors
    /// The directory cannot be read, or contains no brand file.
    pub fn load(&self) -> Result<LoadedBrands, String> {
        config::load_brands(&self.brands, self.credentials.as_deref()).map_err(|problem| problem.to_string())
    }
}

/// A running brand with its new configuration, which is not in effect yet, and the names of the settings whose change needs a
/// restart.
///
/// # Errors
/// Why the configuration cannot be used.
pub fn reconfigure(brand: &Brand, config: BrandConfig) -> Result<(Arc<Brand>, Vec<&'static str>), String> {
    brand.reconfigured(config).map_err(|error| error.to_string())
}
