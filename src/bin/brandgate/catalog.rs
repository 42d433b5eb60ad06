//! `brandgate catalog import` and `export`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use brandgate::catalog::export::{self, ExportFormat};
use brandgate::catalog::import::{self, ImportOptions, ImportProgress, ImportReport, ImportSource, StockTime};
use brandgate::catalog::prune;
use brandgate::config::BrandConfig;
use brandgate::foundation::count::counted;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::tz::TimeZone;

use super::named;
use super::output::{self, complain, say};

#[derive(clap::Subcommand)]
pub(crate) enum CatalogCommand {
    /// Import catalogue files (JSON, JSON lines, YML feeds) into a brand, in one transaction
    Import(Import),
    /// Export the catalogue of a brand as JSON
    Export(Export),
    /// Delete items that imports with --replace have hidden long ago, with their reviews
    Prune(Prune),
}

#[derive(clap::Args)]
pub(crate) struct Import {
    /// Name of the brand
    #[arg(long)]
    brand: String,
    /// Files to import, in order; REGION=FILE is the feed of one region, - is standard input
    #[arg(required = true, value_name = "[REGION=]FILE")]
    files: Vec<String>,
    /// Print what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Name the source of the files; an item of another source is not changed [default: the brand's own]
    #[arg(long, value_name = "NAME", value_parser = source_name)]
    source: Option<String>,
    /// Move items of the brand's own source that are in the files to --source
    #[arg(long, requires = "source")]
    adopt: bool,
    /// Treat the files as complete: hide the source's items that they do not contain, and clear absent pictures,
    /// descriptions, parameters and stock
    #[arg(long)]
    replace: bool,
    /// Allow --replace to hide this share of the source's items [default: import.max_removed_percent of the brand, 30]
    #[arg(long, value_name = "PERCENT", requires = "replace", value_parser = clap::value_parser!(u32).range(0..=100))]
    max_removed: Option<u32>,
    /// Fail without changing anything if any record is rejected or incomplete
    #[arg(long)]
    strict: bool,
    /// Take the stock of the files as that of this time, and subtract what was sold since: a time (RFC 3339; in the shop's
    /// time zone if it has no offset), or "now" [default: the `date` of a YML feed, the `stockAsOf` of an export]
    #[arg(long, value_name = "TIME")]
    stock_as_of: Option<String>,
    /// Accept files that are older than the last one, and stock that is older than the known one
    #[arg(long)]
    older: bool,
    /// Write every rejected, incomplete or corrected record to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct Prune {
    /// Name of the brand
    #[arg(long)]
    brand: String,
    /// Delete what was hidden more than this many days ago
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    older_than: u32,
    /// Print how many would be deleted without deleting them
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args)]
pub(crate) struct Export {
    /// Name of the brand
    #[arg(long)]
    brand: String,
    /// Write JSON lines, one record per line, instead of one object
    #[arg(long)]
    lines: bool,
    /// Output file [default: standard output]
    file: Option<PathBuf>,
}

/// The exit status of an import that was committed although not everything in its files could be used.
const INCOMPLETE: u8 = 3;

pub(crate) async fn run(brands: &[BrandConfig], command: CatalogCommand) -> Result<ExitCode, String> {
    match command {
        CatalogCommand::Import(arguments) => import(named(brands, &arguments.brand)?, &arguments).await,
        CatalogCommand::Prune(arguments) => prune(named(brands, &arguments.brand)?, &arguments).await,
        CatalogCommand::Export(arguments) => {
            export(named(brands, &arguments.brand)?, &arguments).await.map(|()| ExitCode::SUCCESS)
        }
    }
}

fn source_name(text: &str) -> Result<String, String> {
    if import::is_source_name(text) { Ok(text.to_owned()) } else { Err(import::SOURCE_NAME_RULE.to_owned()) }
}

async fn prune(brand: &BrandConfig, arguments: &Prune) -> Result<ExitCode, String> {
    let age = Duration::from_secs(u64::from(arguments.older_than) * 86_400);
    let pruned =
        prune::prune(brand, age, arguments.dry_run).await.map_err(|error| format!("{}: {error}", brand.name))?;
    let outcome = if arguments.dry_run { "would be deleted" } else { "deleted" };
    say!("{}: {} {outcome}", brand.name, counted(pruned, "hidden item"));
    Ok(ExitCode::SUCCESS)
}

async fn import(brand: &BrandConfig, arguments: &Import) -> Result<ExitCode, String> {
    let sources: Vec<ImportSource> = arguments.files.iter().map(|file| source(file)).collect();
    let options = ImportOptions {
        strict: arguments.strict,
        dry_run: arguments.dry_run,
        replace: arguments.replace,
        source: arguments.source.clone().unwrap_or_default(),
        adopt: arguments.adopt,
        max_removed_percent: arguments.max_removed,
        older: arguments.older,
        stock_time: stock_time(arguments.stock_as_of.as_deref(), &brand.timezone)?,
    };
    let mut report = match &arguments.report {
        Some(path) => {
            let is_input = |source: &ImportSource| {
                path.canonicalize().is_ok_and(|path| source.path.canonicalize().is_ok_and(|source| source == path))
            };
            if sources.iter().any(is_input) {
                return Err(format!("--report {}: the file is one of the files to import", path.display()));
            }
            let file = File::create(path).map_err(|e| format!("{}: {e}", path.display()))?;
            ImportReport::with_full(Box::new(BufWriter::new(file)))
        }
        None => ImportReport::default(),
    };
    let progress = ImportProgress::default();
    let display = show_progress(&brand.name, &sources, progress.clone());
    let started_at = Instant::now();
    let imported = import::run(brand, &sources, &options, &progress, &mut report).await;
    display.abort();
    let written = report.finish();
    output::result(format_args!("{report}"));
    let summary = imported.map_err(|error| format!("{}: {error}", brand.name))?;
    let reported = written.map_err(|error| format!("{}: imported, but --report is incomplete: {error}", brand.name));
    output::result(format_args!("{summary}"));
    let (total_s, staging_s) = (started_at.elapsed().as_secs_f64(), summary.staging.as_secs_f64());
    let outcome = if options.dry_run { "would be imported; nothing was changed" } else { "imported" };
    let items = counted(summary.items_read, "item record");
    say!("{}: {items} {outcome} in {total_s:.1} s (read and staged in {staging_s:.1} s)", brand.name);
    if summary.reduced_counts > 0 {
        let reduced = counted(summary.reduced_counts, "item");
        say!(
            "{}: units that were sold since the time of the files are subtracted from the stock of {reduced}",
            brand.name
        );
    }
    reported?;
    if summary.unusable_files > 0 {
        let files = counted(summary.unusable_files, "file");
        complain!("{}: every record of {files} was left out; exit status 3", brand.name);
    }
    if report.incomplete() > 0 {
        let incomplete = counted(report.incomplete(), "record");
        complain!("{}: {incomplete} with values that are not understood; exit status 3", brand.name);
    }
    let is_complete = summary.unusable_files == 0 && report.incomplete() == 0;
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}

/// The value of `--stock-as-of`.
fn stock_time(text: Option<&str>, zone: &TimeZone) -> Result<StockTime, String> {
    match text {
        None => Ok(StockTime::OfFile),
        Some("now") => Ok(StockTime::Now),
        Some(text) => import::parse_time(text, zone)
            .map(StockTime::At)
            .ok_or_else(|| format!("--stock-as-of {text}: expected a time such as 2026-02-28T12:00:00+03:00, or now")),
    }
}

/// `moscow=feed.xml` is the feed of a region if the text before the `=` can be the id of a region.
fn source(text: &str) -> ImportSource {
    let is_id_byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    match text.split_once('=') {
        Some((region, path)) if !region.is_empty() && region.bytes().all(is_id_byte) => {
            ImportSource { path: path.into(), region: Some(region.to_owned()) }
        }
        _ => ImportSource { path: text.into(), region: None },
    }
}

/// A progress bar on a terminal; otherwise a log line every ten seconds.
fn show_progress(brand: &str, sources: &[ImportSource], progress: ImportProgress) -> tokio::task::JoinHandle<()> {
    let brand = brand.to_owned();
    let bytes = sources.iter().map(|source| std::fs::metadata(&source.path).map_or(0, |metadata| metadata.len())).sum();
    let bar = std::io::stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {msg}");
        ProgressBar::new(bytes).with_style(style.expect("the template is well-formed"))
    });
    let interval = Duration::from_millis(if bar.is_some() { 100 } else { 10_000 });
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(interval).await;
            let read = progress.bytes_read.load(Ordering::Relaxed);
            let items = progress.items_staged.load(Ordering::Relaxed);
            match &bar {
                Some(bar) if read >= bytes => bar.set_message(format!("{} staged, merging", counted(items, "item"))),
                Some(bar) => bar.set_message(format!("{} staged", counted(items, "item"))),
                None => {
                    tracing::info!(brand, bytes_read = read, bytes, items_staged = items, "importing the catalogue")
                }
            }
            if let Some(bar) = &bar {
                bar.set_position(read);
            }
        }
    })
}

async fn export(brand: &BrandConfig, arguments: &Export) -> Result<(), String> {
    let format = if arguments.lines { ExportFormat::Lines } else { ExportFormat::Document };
    let exported = match &arguments.file {
        Some(path) => {
            let with_path = |e: std::io::Error| format!("{}: {e}", path.display());
            // The target of a link is replaced, not the link.
            let path = path.canonicalize().unwrap_or_else(|_| path.clone());
            let existing = std::fs::metadata(&path).ok();
            if existing.as_ref().is_some_and(|existing| !existing.is_file()) {
                // Devices and pipes are written to directly; opening a directory fails.
                let file = File::options().write(true).open(&path).map_err(with_path)?;
                export::export(brand, format, &mut BufWriter::new(file)).await
            } else {
                // The existing file is kept until the export is complete.
                let mut partial = path.clone().into_os_string();
                partial.push(".partial");
                let file = File::create(&partial).map_err(with_path)?;
                if let Some(existing) = existing {
                    file.set_permissions(existing.permissions()).map_err(with_path)?;
                }
                let exported = export::export(brand, format, &mut BufWriter::new(file)).await;
                match &exported {
                    Ok(_) => std::fs::rename(&partial, &path).map_err(with_path)?,
                    Err(_) => std::fs::remove_file(&partial).map_err(with_path)?,
                }
                exported
            }
        }
        None => export::export(brand, format, &mut BufWriter::new(std::io::stdout())).await,
    };
    let records = exported.map_err(|error| format!("{}: {error}", brand.name))?;
    complain!("{}: {} exported", brand.name, counted(records, "record"));
    Ok(())
}
