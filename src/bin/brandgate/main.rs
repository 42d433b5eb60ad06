//! The command line: arguments, brand files, and one module per command.

mod answers;
mod brand_registry;
mod cancel_payments;
mod catalog;
mod check;
#[cfg(feature = "docs")]
mod docs;
mod list;
mod log;
mod migrate;
mod outbox;
mod output;
mod payment_search;
mod payments;
mod person;
mod process_role;
mod questions;
mod reload;
mod reviews;
mod search;
mod serve;
mod supervisor;
mod systemd;
mod unknown_money;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use brandgate::config::{BrandConfig, LoadedBrands};
use brandgate::platform::postgres::Purpose;
use brandgate::tenant::brand::Brand;
use brandgate::tenant::reload::ConfigSource;
use clap::{Parser, Subcommand};
use log::LogFormat;
use output::complain;

/// glibc's allocator takes a sixth of the time of a request that queries Redis; jemalloc takes half of that, and no more memory per
/// idle connection (`make bench`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Of the options that every command has, in its help.
const GLOBAL_OPTIONS: &str = "Global options";

#[derive(Parser)]
#[command(version, about, max_term_width = 110)]
struct CliArguments {
    /// Read the brand files (NAME.toml) in this directory
    #[arg(long, env = "BRANDGATE_BRANDS", default_value = "/etc/brandgate/brands", global = true, help_heading = GLOBAL_OPTIONS)]
    brands: PathBuf,
    /// Read secrets in this directory [default: /etc/brandgate/credentials, if it exists]
    #[arg(long, env = "CREDENTIALS_DIRECTORY", global = true, help_heading = GLOBAL_OPTIONS)]
    credentials: Option<PathBuf>,
    /// Write the log in this format to standard error; RUST_LOG filters it [default filter: info]
    #[arg(long, env = "BRANDGATE_LOG", value_enum, default_value_t = LogFormat::Text, global = true, help_heading = GLOBAL_OPTIONS)]
    log: LogFormat,
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Serve all brands until SIGTERM or SIGINT
    Serve(serve::ServeArguments),
    /// Run the background jobs (bots, emails, payments) until SIGTERM or SIGINT
    Work(work::WorkArguments),
    /// Apply the migrations to every brand's schema
    Migrate(migrate::MigrateArguments),
    #[command(flatten)]
    OfBrands(OfBrands),
    /// Check configuration, certificates, databases, isolation and external systems
    Check(check::CheckArguments),
    /// Reload the configuration of a running `serve` or `work` and wait until it is applied (as systemctl reload does)
    Reload(reload::ReloadArguments),
    /// Generate manual pages, shell completions and the configuration reference
    #[cfg(feature = "docs")]
    #[command(hide = true)]
    Docs(docs::DocsArguments),
}

/// The commands that need valid files of all brands.
#[derive(Subcommand)]
enum OfBrands {
    /// List, show, cancel, refund, retry and settle payments, and money without an order
    #[command(subcommand)]
    Payments(payments::PaymentsCommand),
    /// Export or erase what the shop knows of a person
    #[command(subcommand)]
    Person(person::PersonCommand),
    /// Import or export a brand's catalogue
    #[command(subcommand)]
    Catalog(catalog::CatalogCommand),
    /// List, answer and hide reviews
    #[command(subcommand)]
    Reviews(reviews::ReviewsCommand),
    /// List, answer and hide questions about items
    #[command(subcommand)]
    Questions(questions::QuestionsCommand),
    /// Decide about a brand's searches, explain them, and report what visitors search for
    #[command(subcommand)]
    Search(search::SearchCommand),
    /// List and retry queued and failed emails and receipts
    #[command(subcommand)]
    Outbox(outbox::OutboxCommand),
}

/// Where the package keeps the secrets. systemd passes none to commands that an administrator runs.
const INSTALLED_CREDENTIALS: &str = "/etc/brandgate/credentials";

fn main() -> ExitCode {
    let arguments = CliArguments::parse();
    log::init(arguments.log);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain!("brandgate: failed to start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(arguments));
    // What still runs on a blocking thread, such as the build of a search index, is worth nothing any more.
    runtime.shutdown_background();
    code
}

async fn run(arguments: CliArguments) -> ExitCode {
    let installed = Some(PathBuf::from(INSTALLED_CREDENTIALS)).filter(|directory| directory.is_dir());
    let source = ConfigSource { brands: arguments.brands, credentials: arguments.credentials.or(installed) };
    let ended = match arguments.command {
        CliCommand::Serve(arguments) => match load_some(&source) {
            Ok(loaded) => serve::run(loaded, source, arguments).await.map(succeeded),
            Err(code) => return code,
        },
        CliCommand::Work(arguments) => match load_some(&source) {
            Ok(loaded) => work::run(loaded, source, arguments).await.map(succeeded),
            Err(code) => return code,
        },
        CliCommand::Migrate(arguments) => match load_some(&source) {
            Ok(loaded) => migrate::run(loaded, arguments).await.map(succeeded),
            Err(code) => return code,
        },
        CliCommand::OfBrands(command) => match source.read() {
            Ok(brands) => command.run(brands).await,
            Err(problems) => {
                complain!("{problems}");
                return ExitCode::from(2);
            }
        },
        CliCommand::Check(arguments) => {
            let (brands, problems) = source.read_each();
            return match arguments.restart_of {
                Some(admin) => check::run_for_restart(&brands, &problems, admin).await,
                None => check::run(&brands, &problems, &arguments).await,
            };
        }
        CliCommand::Reload(arguments) => reload::run(&arguments).await.map(succeeded),
        #[cfg(feature = "docs")]
        CliCommand::Docs(arguments) => return docs::run(&arguments),
    };
    match ended.and_then(|code| output::flush().map(|()| code)) {
        Ok(code) => code,
        Err(message) => {
            if !message.is_empty() {
                complain!("brandgate: {message}");
            }
            ExitCode::FAILURE
        }
    }
}

impl OfBrands {
    /// # Errors
    /// A message for standard error; empty when the command has written its own.
    async fn run(self, brands: Vec<BrandConfig>) -> Result<ExitCode, String> {
        match self {
            OfBrands::Payments(command) => payments::run(&brands, command).await.map(succeeded),
            OfBrands::Person(command) => person::run(&brands, command).await.map(succeeded),
            OfBrands::Catalog(command) => catalog::run(&brands, command).await,
            OfBrands::Reviews(command) => reviews::run(&brands, command).await.map(succeeded),
            OfBrands::Questions(command) => questions::run(&brands, command).await.map(succeeded),
            OfBrands::Search(command) => search::run(&brands, command).await.map(succeeded),
            OfBrands::Outbox(command) => outbox::run(&brands, command).await.map(succeeded),
        }
    }
}

fn succeeded((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

/// The brand files, of which at least one is valid.
///
/// # Errors
/// The exit status, after every problem was written to standard error.
fn load_some(source: &ConfigSource) -> Result<LoadedBrands, ExitCode> {
    let problems = match source.load() {
        Ok(loaded) if !loaded.valid.is_empty() => return Ok(loaded),
        Ok(loaded) => {
            let problems = loaded.invalid.iter().flat_map(|brand| &brand.problems);
            problems.map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
        Err(problem) => problem,
    };
    complain!("{problems}");
    Err(ExitCode::from(2))
}

/// Parses a note of 1 to 1,000 characters.
fn note(text: &str) -> Result<String, String> {
    let note = text.trim();
    match (1..=1_000).contains(&note.chars().count()) {
        true => Ok(note.to_owned()),
        false => Err("expected a text of at most 1,000 characters".to_owned()),
    }
}

/// Parses the number of an entry that the command `listed_by` shows.
fn listed_number(text: &str, listed_by: &str) -> Result<i64, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("expected the number that `{listed_by}` shows"))
}

/// The brand of that name, connected to its database; an unavailable database is an error.
async fn open(brands: &[BrandConfig], name: &str) -> Result<Arc<Brand>, String> {
    let brand = Brand::new(named(brands, name)?.clone(), Purpose::Work).map_err(|error| format!("{name}: {error}"))?;
    brand.check_ready().await.map_err(|error| format!("{name}: {error}"))?;
    Ok(brand)
}

/// The configuration of the brand of that name.
fn named<'b>(brands: &'b [BrandConfig], name: &str) -> Result<&'b BrandConfig, String> {
    brands.iter().find(|brand| brand.name == name).ok_or_else(|| {
        let names: Vec<_> = brands.iter().map(|brand| brand.name.as_str()).collect();
        format!("there is no brand {name}; the brands are {}", names.join(", "))
    })
}
