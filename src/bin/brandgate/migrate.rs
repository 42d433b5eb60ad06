//! `brandgate migrate`: applies migrations; with an administrator's URL also creates roles and schemas and revokes cross-brand rights.

use std::str::FromStr;

use brandgate::config::{BrandConfig, DatabaseUrl, DatabaseUrlError, LoadedBrands};
use brandgate::platform::migrations::MigrationReport;
use brandgate::platform::{migrations, postgres};

use super::output::{complain, say};

#[derive(clap::Args)]
pub(crate) struct MigrateArguments {
    /// Create roles and schemas first, as the administrator of this PostgreSQL URL (with the brands' database)
    #[arg(long, env = "BRANDGATE_ADMIN_URL", hide_env_values = true)]
    admin_url: Option<String>,
}

/// Brands with invalid files are reported; the others are migrated.
///
/// # Errors
/// A problem of the administrator's URL; empty when each brand's error was written.
pub(crate) async fn run(loaded: LoadedBrands, arguments: MigrateArguments) -> Result<(), String> {
    let brands = loaded.valid;
    for problem in loaded.invalid.iter().flat_map(|brand| &brand.problems) {
        complain!("{problem}");
    }
    if let Some(url) = &arguments.admin_url {
        prepare(&brands, url).await?;
    }
    let (mut all_applied, mut refused) = (loaded.invalid.is_empty(), Vec::new());
    for brand in &brands {
        match migrations::apply(brand).await {
            Ok(report) => say!("{}: {}", brand.name, outcome(&report)),
            Err(error) => {
                complain!("brandgate: {}: {error}", brand.name);
                all_applied = false;
                // A migration that fails runs with role and schema in place; an administrator could not help.
                let has_schema = error.cause.as_ref().is_some_and(|cause| cause.is::<migrations::MigrationError>());
                if !postgres::is_unavailable(&error) && !has_schema {
                    refused.push(brand);
                }
            }
        }
    }
    if all_applied {
        return Ok(());
    }
    if arguments.admin_url.is_none() && !refused.is_empty() {
        complain!("If the role or its schema is missing, run this SQL as an administrator (or use --admin-url):\n");
        for brand in &refused {
            say!("{}", migrations::admin_script(brand));
        }
    }
    Err(String::new())
}

/// Creates roles and schemas as an administrator.
async fn prepare(brands: &[BrandConfig], admin_url: &str) -> Result<(), String> {
    let expected = "--admin-url: expected postgresql://user@host:port/database, or ?host=/run/postgresql for a socket";
    let url = DatabaseUrl::from_str(admin_url).map_err(|error| match error {
        DatabaseUrlError::Form => expected.to_owned(),
        DatabaseUrlError::Tls(problem) => format!("--admin-url: {problem}"),
    })?;
    for brand in brands {
        let (own, admins) = (brand.database.postgres.get_dbname(), url.postgres.get_dbname());
        if own != admins {
            let [own, admins] = [own, admins].map(|name| name.unwrap_or("?").to_owned());
            return Err(format!("--admin-url names the database {admins}, but {} uses {own}", brand.name));
        }
    }
    let mut admin = postgres::connect_as_administrator(&url).await.map_err(|error| error.to_string())?;
    for brand in brands {
        migrations::prepare(&mut admin, brand).await.map_err(|e| format!("{}: {e}", brand.name))?;
    }
    Ok(())
}

fn outcome(MigrationReport { applied, unknown }: &MigrationReport) -> String {
    let applied = match applied.is_empty() {
        true => "up to date".to_owned(),
        false => format!("applied {}", applied.join(", ")),
    };
    match unknown.is_empty() {
        true => applied,
        false => format!("{applied}; also applied by a newer version: {}", unknown.join(", ")),
    }
}
