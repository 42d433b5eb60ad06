//! Configuration reload: reads the brands' files again while the process runs.
//!
//! # Invariants
//!
//! A configuration takes effect as a whole or not at all: an error in one file keeps the running configuration of all brands.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{self, BrandConfig};
use crate::tenant::brand::Brand;

/// The directories of the brands' files and secrets.
#[derive(Debug, Clone)]
pub struct ConfigSource {
    pub brands: PathBuf,
    pub credentials: Option<PathBuf>,
}

/// The brands with their new configuration, which is not in effect yet.
pub struct Reloaded {
    /// In the order of the running brands.
    pub brands: Vec<Arc<Brand>>,
    /// One message for each change that needs a restart.
    pub needs_restart: Vec<String>,
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

    /// Reads the configuration of the running brands.
    ///
    /// # Errors
    /// As [`ConfigSource::read`].
    pub fn reload(&self, running: &[Arc<Brand>]) -> Result<Reloaded, String> {
        let mut configs = self.read()?;
        let mut reloaded = Reloaded { brands: Vec::new(), needs_restart: Vec::new() };
        for brand in running {
            let name = brand.name();
            let Some(index) = configs.iter().position(|config| config.name == name) else {
                reloaded.needs_restart.push(format!("{name}: its file was removed; it is served until a restart"));
                reloaded.brands.push(brand.clone());
                continue;
            };
            let (next, keys) = brand.reconfigured(configs.remove(index)).map_err(|e| format!("{name}: {e}"))?;
            let messages = keys.iter().map(|key| format!("{name}: {key} changed, which needs a restart"));
            reloaded.needs_restart.extend(messages);
            reloaded.brands.push(next);
        }
        let added = configs.iter().map(|config| format!("{}: new brand; it is served after a restart", config.name));
        reloaded.needs_restart.extend(added);
        Ok(reloaded)
    }
}
