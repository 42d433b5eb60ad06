//! `brandgate migrate`: schemas up to date; with an administrator's URL also roles, schemas and walls.

use std::str::FromStr;

use brandgate::config::BrandConfig;
use brandgate::platform::migrations::MigrationReport;
use brandgate::platform::postgres::Role;
use brandgate::platform::{migrations, postgres};

use super::output::{complain, say};

#[derive(clap::Args)]
pub struct Arguments {
    /// PostgreSQL URL of an administrator, in the brands' database: makes what only an administrator can make
    #[arg(long, env = "BRANDGATE_ADMIN_URL", hide_env_values = true)]
    admin_url: Option<String>,
}

pub async fn run(brands: Vec<BrandConfig>, arguments: Arguments) -> Result<(), String> {
    if let Some(url) = &arguments.admin_url {
        let expected =
            "--admin-url: expected postgresql://user@host:port/database, or ?host=/run/postgresql for a socket";
        let url = tokio_postgres::Config::from_str(url).map_err(|_| expected.to_owned())?;
        for brand in &brands {
            let (own, admins) = (brand.database.postgres.get_dbname(), url.get_dbname());
            if own != admins {
                let [own, admins] = [own, admins].map(|name| name.unwrap_or("?").to_owned());
                return Err(format!("--admin-url names the database {admins}, but {} lives in {own}", brand.name));
            }
        }
        let mut admin = postgres::connect_with(&url, Role::Administrator).await.map_err(|error| error.to_string())?;
        for brand in &brands {
            migrations::prepare(&mut admin, brand).await.map_err(|e| format!("{}: {e}", brand.name))?;
        }
    }
    let (mut is_whole, mut refused) = (true, Vec::new());
    for brand in &brands {
        match migrations::apply(brand).await {
            Ok(MigrationReport { applied, unknown }) => {
                let done = if applied.is_empty() {
                    "up to date".to_owned()
                } else {
                    format!("applied {}", applied.join(", "))
                };
                match unknown.is_empty() {
                    true => say!("{}: {done}", brand.name),
                    false => {
                        say!("{}: {done}; a newer version was here and made {}", brand.name, unknown.join(", "))
                    }
                }
            }
            Err(error) => {
                complain!("brandgate: {}: {error}", brand.name);
                is_whole = false;
                // Where a file failed, an administrator has nothing left to do.
                let is_later = error.cause.as_ref().is_some_and(|cause| cause.is::<migrations::MigrationError>());
                if !postgres::is_unavailable(&error) && !is_later {
                    refused.push(brand);
                }
            }
        }
    }
    if is_whole {
        return Ok(());
    }
    if arguments.admin_url.is_none() && !refused.is_empty() {
        complain!(
            "If the role or its schema is missing, an administrator of the database runs this (or --admin-url):\n"
        );
        for brand in &refused {
            say!("{}", migrations::admin_script(brand));
        }
    }
    Err(String::new())
}
