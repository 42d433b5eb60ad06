//! The brands of a process: how each one starts, fails, recovers and is reconfigured, by itself.
//!
//! # Invariants
//!
//! A brand that cannot be served affects no other brand: it is reported and retried until it can be.

use std::sync::Arc;
use std::time::Duration;

use brandgate::config::{BrandConfig, ConfigProblem, LoadedBrands, UnavailableConfig};
use brandgate::telemetry::metrics::Metrics;
use brandgate::tenant::brand::Brand;
use brandgate::tenant::brands::{BrandFailure, Brands, SharedBrands};
use brandgate::tenant::reload::reconfigure;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;

use crate::process_role::ProcessRole;
use crate::systemd;

/// How long a start or a reload waits for the databases of its brands. Then what needs a database is answered with 503.
pub(crate) const MAX_OPENING_TIME: Duration = Duration::from_secs(2);

/// A brand that has a file, and what became of it.
struct BrandEntry {
    name: String,
    /// The brand in service. With a `failure`, its database is unfit.
    brand: Option<Arc<Brand>>,
    /// Why it cannot be served; one problem per line.
    failure: Option<String>,
    /// Its failure was logged, and its recovery was not.
    is_failure_logged: bool,
    /// The task that waits for its database.
    opening: Option<AbortHandle>,
}

impl BrandEntry {
    fn new(name: &str) -> BrandEntry {
        BrandEntry { name: name.to_owned(), brand: None, failure: None, is_failure_logged: false, opening: None }
    }

    fn is_ready(&self) -> bool {
        self.failure.is_none() && self.brand.as_ref().is_some_and(|brand| brand.is_ready())
    }

    fn is_resolved(&self) -> bool {
        self.is_ready() || self.failure.is_some()
    }
}

/// What a reload did to the brands.
#[derive(Default)]
pub(crate) struct ReloadOutcome {
    pub applied: Vec<Arc<Brand>>,
    /// The names and problems of brands that keep their former configuration, or cannot be served.
    pub refused: Vec<(String, String)>,
    /// Per change that takes effect at a restart, the brand's name and what changed.
    pub needs_restart: Vec<(String, String)>,
}

pub(crate) struct BrandRegistry<R> {
    pub role: R,
    entries: Vec<BrandEntry>,
    /// What other tasks see of `entries`.
    published: SharedBrands,
    opening: JoinSet<Result<(), String>>,
    is_started: bool,
    /// Whether the database of some brand was ready.
    was_ready: bool,
    /// The status line that systemd has.
    status: String,
    is_status_logged: bool,
}

impl<R: ProcessRole> BrandRegistry<R> {
    pub(crate) fn new(role: R, published: SharedBrands) -> BrandRegistry<R> {
        BrandRegistry {
            role,
            entries: Vec::new(),
            published,
            opening: JoinSet::new(),
            is_started: false,
            was_ready: false,
            status: String::new(),
            is_status_logged: false,
        }
    }

    pub(crate) fn is_started(&self) -> bool {
        self.is_started
    }

    pub(crate) fn are_all_ready(&self) -> bool {
        self.entries.iter().all(BrandEntry::is_ready)
    }

    /// Prepares all brands at start; those with valid files first, so that no invalid file takes a socket of theirs.
    pub(crate) fn load(&mut self, loaded: LoadedBrands) {
        let names =
            loaded.valid.iter().map(|config| &config.name).chain(loaded.invalid.iter().map(|brand| &brand.name));
        self.entries = names.map(|name| BrandEntry::new(name)).collect();
        self.entries.sort_by(|a, b| a.name.cmp(&b.name));
        for config in loaded.valid {
            if let Some(index) = self.index_of(&config.name) {
                self.build(index, config);
            }
        }
        for brand in loaded.invalid {
            if let Some(index) = self.index_of(&brand.name) {
                self.fail(index, lines(&brand.problems), brand.unavailable.as_ref());
            }
        }
        self.publish();
    }

    fn index_of(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.name == name)
    }

    /// Builds a brand from its configuration and waits for its database in the background.
    fn build(&mut self, index: usize, config: BrandConfig) {
        let unavailable = UnavailableConfig::from(&config);
        let brand = match &self.entries[index].brand {
            // Its listener stays, with the connections that are open.
            Some(former) => former.rebuilt(config, R::PURPOSE),
            None => Brand::new(config, R::PURPOSE),
        };
        let built = brand.map_err(|error| error.to_string()).and_then(|brand| {
            // The database opens while the certificate is loaded: the first use of cryptography is slow.
            let opened = brand.clone();
            let opening = self.opening.spawn(async move { opened.wait_until_ready().await });
            match self.role.prepare(&brand) {
                Ok(()) => Ok((brand, opening)),
                Err(reason) => {
                    opening.abort();
                    Err(reason)
                }
            }
        });
        match built {
            Ok((brand, opening)) => {
                let entry = &mut self.entries[index];
                if let Some(former) = entry.opening.replace(opening) {
                    former.abort();
                }
                // An unfit database is a failure until the new attempt ends.
                if entry.brand.is_none() {
                    entry.failure = None;
                }
                entry.brand = Some(brand.clone());
                if self.is_started {
                    self.role.start(&brand);
                }
            }
            Err(reason) => self.fail(index, reason, Some(&unavailable)),
        }
    }

    /// Reports why a brand cannot be served and refuses its clients.
    fn fail(&mut self, index: usize, reason: String, unavailable: Option<&UnavailableConfig>) {
        self.record_failure(index, reason);
        self.role.refuse(&self.entries[index].name, unavailable);
    }

    /// Logs a failure, unless it is known.
    fn record_failure(&mut self, index: usize, reason: String) {
        let entry = &mut self.entries[index];
        let reason = reason.strip_prefix(&format!("{}: ", entry.name)).map(str::to_owned).unwrap_or(reason);
        if entry.failure.as_ref() != Some(&reason) {
            for problem in reason.lines() {
                tracing::error!(brand = entry.name, "failed to serve the brand; retrying until it can be: {problem}");
            }
            entry.is_failure_logged = true;
            entry.failure = Some(reason);
        }
    }

    /// The next outcome of a task that waits for a database; `None` when there is no such task.
    pub(crate) async fn next_opened(&mut self) -> Option<(Id, Result<(), String>)> {
        Some(match self.opening.join_next_with_id().await? {
            Ok(opened) => opened,
            Err(error) => (error.id(), Err(error.to_string())),
        })
    }

    /// Handles an outcome of [`BrandRegistry::next_opened`].
    pub(crate) fn opened(&mut self, id: Id, result: Result<(), String>) {
        let is_opening = |entry: &BrandEntry| entry.opening.as_ref().is_some_and(|task| task.id() == id);
        // Otherwise the brand was replaced meanwhile.
        let Some(index) = self.entries.iter().position(is_opening) else { return };
        let entry = &mut self.entries[index];
        entry.opening = None;
        let Some(brand) = entry.brand.clone() else { return };
        let is_fit = result.is_ok();
        match result {
            Ok(()) => {
                entry.failure = None;
                self.was_ready = true;
                let url = &brand.config.public_url;
                match std::mem::take(&mut entry.is_failure_logged) {
                    true => tracing::info!(brand = entry.name, url, "the brand is served again"),
                    false => tracing::info!(brand = entry.name, url, "database is ready"),
                }
            }
            Err(reason) => self.record_failure(index, reason),
        }
        // An unfit database delays nothing after the start, before which the process may still end.
        if is_fit || self.is_started {
            self.role.start(&brand);
        }
        self.publish();
    }

    /// Tries to serve the brands that are not served.
    pub(crate) fn retry(&mut self, loaded: &LoadedBrands) {
        for index in 0..self.entries.len() {
            if !self.entries[index].is_ready() {
                self.retry_brand(index, loaded);
            }
        }
        self.publish();
    }

    fn retry_brand(&mut self, index: usize, loaded: &LoadedBrands) {
        let entry = &self.entries[index];
        if let Some(config) = loaded.valid.iter().find(|config| config.name == entry.name) {
            let has_same_database = entry.brand.as_ref().is_some_and(|brand| brand.config.database == config.database);
            // A task still waits for that database.
            if entry.opening.is_none() || !has_same_database {
                self.build(index, config.clone());
            }
        } else if entry.opening.is_some() {
            // A brand that waits for its database keeps the configuration that it has.
        } else if let Some(invalid) = loaded.invalid.iter().find(|brand| brand.name == entry.name) {
            self.fail(index, lines(&invalid.problems), invalid.unavailable.as_ref());
        } else {
            self.fail(index, "its file was removed; restart to forget the brand".to_owned(), None);
        }
    }

    /// Applies the files to each brand by itself.
    pub(crate) async fn reload(&mut self, loaded: &LoadedBrands) -> ReloadOutcome {
        let mut outcome = ReloadOutcome::default();
        let mut retried = Vec::new();
        for index in 0..self.entries.len() {
            match self.entries[index].brand.clone() {
                Some(brand) if self.can_reconfigure(index, &brand, loaded) => {
                    self.reload_brand(index, &brand, loaded, &mut outcome);
                }
                _ => {
                    self.retry_brand(index, loaded);
                    retried.push(index);
                }
            }
        }
        self.wait_for_databases(&retried).await;
        for entry in retried.into_iter().map(|index| &self.entries[index]) {
            match &entry.failure {
                Some(reason) => outcome.refused.push((entry.name.clone(), reason.clone())),
                None => outcome.applied.extend(entry.brand.clone()),
            }
        }
        let is_new = |name: &str| !self.entries.iter().any(|entry| entry.name == name);
        let added = loaded.valid.iter().filter(|config| is_new(&config.name));
        outcome.needs_restart.extend(added.map(|config| (config.name.clone(), "new brand".to_owned())));
        let invalid = loaded.invalid.iter().filter(|brand| is_new(&brand.name));
        outcome.refused.extend(invalid.map(|brand| (brand.name.clone(), lines(&brand.problems))));
        self.role.reloaded(&outcome.applied).await;
        self.publish();
        outcome
    }

    /// Whether a reload can keep the brand's connections. A brand that still waits for its database has none to lose.
    fn can_reconfigure(&self, index: usize, brand: &Brand, loaded: &LoadedBrands) -> bool {
        let config = loaded.valid.iter().find(|config| config.name == brand.name());
        let has_new_database = config.is_some_and(|config| config.database != brand.config.database);
        self.entries[index].failure.is_none() && (brand.is_ready() || !has_new_database)
    }

    fn reload_brand(&mut self, index: usize, brand: &Arc<Brand>, loaded: &LoadedBrands, outcome: &mut ReloadOutcome) {
        let name = brand.name();
        if let Some(config) = loaded.valid.iter().find(|config| config.name == name) {
            let next = reconfigure(brand, config.clone());
            match next.and_then(|(next, keys)| self.role.reconfigure(&next).map(|()| (next, keys))) {
                Ok((next, keys)) => {
                    self.entries[index].brand = Some(next.clone());
                    outcome.applied.push(next);
                    outcome.needs_restart.extend(keys.iter().map(|key| (name.to_owned(), format!("{key} changed"))));
                }
                Err(problem) => outcome.refused.push((name.to_owned(), problem)),
            }
        } else if let Some(invalid) = loaded.invalid.iter().find(|invalid| invalid.name == name) {
            outcome.refused.push((name.to_owned(), lines(&invalid.problems)));
        } else {
            outcome.needs_restart.push((name.to_owned(), "its file was removed".to_owned()));
        }
    }

    /// Waits a while for the databases of these brands.
    async fn wait_for_databases(&mut self, indexes: &[usize]) {
        let deadline = Instant::now() + MAX_OPENING_TIME;
        while indexes.iter().any(|index| self.entries[*index].opening.is_some()) {
            let Ok(Some((id, result))) = tokio::time::timeout_at(deadline, self.next_opened()).await else { return };
            self.opened(id, result);
        }
    }

    /// Every problem, when no brand can be served and none ever could: then the process ends.
    pub(crate) fn fatal_problems(&self) -> Option<String> {
        if self.was_ready || self.entries.iter().any(|entry| entry.failure.is_none()) {
            return None;
        }
        let problems = self.entries.iter().flat_map(|entry| {
            let problems = entry.failure.as_deref().unwrap_or_default().lines();
            problems.map(|problem| format!("{}: {problem}", entry.name))
        });
        Some(problems.collect::<Vec<_>>().join("\nbrandgate: "))
    }

    /// Starts as soon as every brand is ready or has failed.
    pub(crate) fn start_when_resolved(&mut self) {
        if !self.is_started && self.entries.iter().all(BrandEntry::is_resolved) {
            self.start();
        }
    }

    pub(crate) fn start(&mut self) {
        self.is_started = true;
        for brand in self.entries.iter().filter_map(|entry| entry.brand.as_ref()) {
            self.role.start(brand);
        }
        self.publish();
    }

    /// Publishes the brands' states to other tasks, metrics and systemd.
    fn publish(&mut self) {
        let mut brands = Brands::default();
        for entry in &self.entries {
            brands.running.extend(entry.brand.clone());
            if let Some(reason) = &entry.failure {
                brands.failures.push(BrandFailure { name: entry.name.clone(), reason: first_line(reason).to_owned() });
            }
            Metrics::of(&entry.name).brand_up().set(entry.is_ready().into());
        }
        self.published.store(Arc::new(brands));
        if !self.is_started {
            return;
        }
        let status = self.status();
        // The line of each brand precedes that of all.
        let is_logged = |entry: &BrandEntry| entry.is_resolved() && entry.opening.is_none();
        if !self.is_status_logged && self.entries.iter().all(is_logged) {
            tracing::info!("{status}");
            self.is_status_logged = true;
        }
        if self.status == status {
            return;
        }
        systemd::ready(&status);
        self.status = status;
    }

    /// `degraded: novo: /etc/…: failed to read: …; serving dexar; waiting for PostgreSQL of third`.
    pub(crate) fn status(&self) -> String {
        let names = |is_wanted: fn(&BrandEntry) -> bool| -> String {
            let wanted = self.entries.iter().filter(|entry| is_wanted(entry));
            wanted.map(|entry| entry.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let failures = self.entries.iter().filter_map(|entry| Some((&entry.name, entry.failure.as_ref()?)));
        let failures: Vec<_> = failures.map(|(name, reason)| format!("{name}: {}", first_line(reason))).collect();
        let parts = [
            ("degraded:", failures.join("; ")),
            (R::ACTIVITY, names(BrandEntry::is_ready)),
            ("waiting for PostgreSQL of", names(|entry| !entry.is_resolved())),
        ];
        let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
        parts.map(|(what, names)| format!("{what} {names}")).collect::<Vec<_>>().join("; ")
    }

    /// Ends all waiting and finishes what is in progress.
    pub(crate) async fn shut_down(mut self) {
        self.opening.abort_all();
        let running: Vec<_> = self.entries.into_iter().filter_map(|entry| entry.brand).collect();
        self.role.shut_down(&running).await;
    }
}

fn lines(problems: &[ConfigProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

pub(crate) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
