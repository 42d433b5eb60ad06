//! Reading the brands' files again while the process lives.
//!
//! Called by `bin/brandgate serve` and `work` at SIGHUP and when `brandgate reload` asks. What must never happen: half of a
//! new configuration, or a faulty one, takes the place of the former.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{self, BrandConfig};
use crate::tenant::brand::Brand;

/// Where the brands' files and secrets are.
#[derive(Debug, Clone)]
pub struct ConfigSource {
    pub brands: PathBuf,
    pub credentials: Option<PathBuf>,
}

/// The brands of a process under what their files say now; nothing is exchanged yet.
pub struct Reloaded {
    /// In the order of the former ones.
    pub brands: Vec<Arc<Brand>>,
    /// What only a restart brings, a sentence each.
    pub needs_restart: Vec<String>,
}

impl ConfigSource {
    /// The brands whose files have no fault, and the faults of the others, a line each.
    pub fn read_each(&self) -> (Vec<BrandConfig>, Vec<String>) {
        let (brands, faults) = config::load_each(&self.brands, self.credentials.as_deref());
        (brands, faults.iter().map(ToString::to_string).collect())
    }

    /// # Errors
    /// Every fault of every file, a line each.
    pub fn read(&self) -> Result<Vec<BrandConfig>, String> {
        let (brands, faults) = self.read_each();
        if faults.is_empty() { Ok(brands) } else { Err(faults.join("\n")) }
    }

    /// Reads everything again for the brands that the process has.
    ///
    /// # Errors
    /// As [`ConfigSource::read`]; the former brands are as they were.
    pub fn reload(&self, former: &[Arc<Brand>]) -> Result<Reloaded, String> {
        let mut configs = self.read()?;
        let mut renewed = Reloaded { brands: Vec::new(), needs_restart: Vec::new() };
        for brand in former {
            let Some(at) = configs.iter().position(|config| config.name == brand.name()) else {
                renewed.needs_restart.push(format!("{}: its file is gone; it is served until a restart", brand.name()));
                renewed.brands.push(brand.clone());
                continue;
            };
            let (next, keys) = brand.reconfigured(configs.remove(at)).map_err(|e| format!("{}: {e}", brand.name()))?;
            let sentences = keys.iter().map(|key| format!("{}: {key} changed; that needs a restart", brand.name()));
            renewed.needs_restart.extend(sentences);
            renewed.brands.push(next);
        }
        let new = configs.iter().map(|config| format!("{}: a new brand is served after a restart", config.name));
        renewed.needs_restart.extend(new);
        Ok(renewed)
    }
}
