//! What `serve` and `work` do differently with their brands.

use std::sync::Arc;

use brandgate::config::UnavailableConfig;
use brandgate::platform::postgres::Purpose;
use brandgate::tenant::brand::Brand;

/// What a long-running process does between the events that the supervisor handles.
pub(crate) trait ProcessRole {
    /// What the status line says before the brands' names.
    const ACTIVITY: &'static str;

    /// Its systemd unit.
    const UNIT: &'static str;

    /// What a shutdown finishes.
    const IN_PROGRESS: &'static str;

    /// What the database connections of its brands are for.
    const PURPOSE: Purpose;

    /// Prepares to serve a brand, which replaces the one of that name.
    ///
    /// # Errors
    /// Why it cannot be served.
    fn prepare(&mut self, brand: &Arc<Brand>) -> Result<(), String>;

    /// Serves a prepared brand. Called again when its database becomes ready.
    fn start(&mut self, brand: &Arc<Brand>);

    /// Refuses the clients of a brand that cannot be served. Called again at every retry.
    fn refuse(&mut self, name: &str, config: Option<&UnavailableConfig>);

    /// Called every few seconds, for certificates that were replaced.
    fn check_certificates(&mut self) {}

    /// Puts a new configuration of a brand in force.
    ///
    /// # Errors
    /// Why it is refused; the current configuration then stays in force.
    fn reconfigure(&mut self, brand: &Arc<Brand>) -> Result<(), String>;

    /// Called after a reload with the brands that have a new configuration.
    async fn reloaded(&mut self, _brands: &[Arc<Brand>]) {}

    /// Finishes what is in progress.
    async fn shut_down(self, brands: &[Arc<Brand>]);
}
