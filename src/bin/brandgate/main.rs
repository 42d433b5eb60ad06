//! The command line. Each subcommand has a file of its own; this one reads the arguments and the brands' files.

mod catalog;
mod check;
#[cfg(feature = "docs")]
mod docs;
mod log;
mod migrate;
mod outbox;
mod output;
mod payments;
mod reload;
mod reviews;
mod serve;
mod supervisor;
mod systemd;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use brandgate::config::BrandConfig;
use brandgate::platform::postgres::Purpose;
use brandgate::tenant::brand::Brand;
use brandgate::tenant::reload::ConfigSource;
use clap::{Parser, Subcommand};
use log::LogFormat;
use output::complain;

/// glibc's takes a sixth of what a request with a question to Redis costs; this one half of that, and no more memory for a
/// connection that rests (`make bench`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Parser)]
#[command(version, about, max_term_width = 110)]
struct Arguments {
    /// Directory of the brands' files, one NAME.toml each
    #[arg(long, env = "BRANDGATE_BRANDS", default_value = "/etc/brandgate/brands", global = true)]
    brands: PathBuf,
    /// Directory of the secrets that the brands' files name; /etc/brandgate/credentials where that is installed
    #[arg(long, env = "CREDENTIALS_DIRECTORY", global = true)]
    credentials: Option<PathBuf>,
    /// How log lines look, on standard error; RUST_LOG chooses which (info unless set)
    #[arg(long, env = "BRANDGATE_LOG", value_enum, default_value_t = LogFormat::Text, global = true)]
    log: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    OfBrands(OfBrands),
    /// Look at configuration, certificates, databases and isolation, and say what is wrong
    Check(check::Arguments),
    /// Have a running `serve` or `work` read its files again, and wait until they count; systemctl reload does this
    Reload(reload::Arguments),
    /// Write the manual pages and the shells' completions into a directory, for the package
    #[cfg(feature = "docs")]
    #[command(hide = true)]
    Docs(docs::Arguments),
}

/// What begins only when every brand's file can be used.
#[derive(Subcommand)]
enum OfBrands {
    /// Serve all brands until SIGTERM or SIGINT
    Serve(serve::Arguments),
    /// Do what is done behind the requests (bots, mail, the bank's news) until SIGTERM or SIGINT
    Work(work::Arguments),
    /// Bring every brand's schema up to date
    Migrate(migrate::Arguments),
    /// See payments, give money back, ask the bank again
    #[command(subcommand)]
    Payments(payments::Command),
    /// Get a brand's catalogue in or out
    #[command(subcommand)]
    Catalog(catalog::Command),
    /// Look at what buyers wrote, and hide what must not be seen
    #[command(subcommand)]
    Reviews(reviews::Command),
    /// See what waits to be sent or was given up, and send it again
    #[command(subcommand)]
    Outbox(outbox::Command),
}

/// Where the package keeps the secrets: for an administrator's own commands, which systemd hands nothing.
const CREDENTIALS: &str = "/etc/brandgate/credentials";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::begin(arguments.log);
    let installed = Some(PathBuf::from(CREDENTIALS)).filter(|directory| directory.is_dir());
    let source = ConfigSource { brands: arguments.brands, credentials: arguments.credentials.or(installed) };
    let ended = match arguments.command {
        Command::OfBrands(command) => match source.read() {
            Ok(brands) => command.run(brands, source).await,
            Err(faults) => {
                complain!("{faults}");
                return ExitCode::from(2);
            }
        },
        Command::Check(arguments) => {
            let (brands, faults) = source.read_each();
            return check::run(&brands, &faults, &arguments).await;
        }
        Command::Reload(arguments) => reload::run(&arguments).await,
        #[cfg(feature = "docs")]
        Command::Docs(arguments) => return docs::run(&arguments),
    };
    match ended.and_then(|()| output::whole()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            if !sentence.is_empty() {
                complain!("brandgate: {sentence}");
            }
            ExitCode::FAILURE
        }
    }
}

impl OfBrands {
    async fn run(self, brands: Vec<BrandConfig>, source: ConfigSource) -> Result<(), String> {
        match self {
            OfBrands::Serve(arguments) => serve::run(brands, source, arguments).await,
            OfBrands::Work(arguments) => work::run(brands, source, arguments).await,
            OfBrands::Migrate(arguments) => migrate::run(brands, arguments).await,
            OfBrands::Payments(command) => payments::run(&brands, command).await,
            OfBrands::Catalog(command) => catalog::run(&brands, command).await,
            OfBrands::Reviews(command) => reviews::run(&brands, command).await,
            OfBrands::Outbox(command) => outbox::run(&brands, command).await,
        }
    }
}

fn build_brands(configs: Vec<BrandConfig>, purpose: Purpose) -> Result<Vec<Arc<Brand>>, String> {
    let brands = configs.into_iter().map(|config| Brand::new(config, purpose)).collect::<Result<Vec<_>, _>>();
    brands.map_err(|error| error.to_string())
}

/// The number of something that a command lists.
fn listed_number(text: &str, listed_by: &str) -> Result<i64, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("expected the number that `{listed_by}` shows"))
}

/// The brand of that name with its database. A person waits here, so one that is away is a fault.
async fn open(brands: &[BrandConfig], name: &str) -> Result<Arc<Brand>, String> {
    let brand = Brand::new(named(brands, name)?.clone(), Purpose::Work).map_err(|error| format!("{name}: {error}"))?;
    brand.check_ready().await.map_err(|error| format!("{name}: {error}"))?;
    Ok(brand)
}

/// The brand of that name.
fn named<'b>(brands: &'b [BrandConfig], name: &str) -> Result<&'b BrandConfig, String> {
    brands.iter().find(|brand| brand.name == name).ok_or_else(|| {
        let names: Vec<_> = brands.iter().map(|brand| brand.name.as_str()).collect();
        format!("there is no brand {name}; the brands are {}", names.join(", "))
    })
}
