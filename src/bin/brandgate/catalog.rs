//! `brandgate catalog import` and `export`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use brandgate::catalog::export::{self, ExportFormat};
use brandgate::catalog::import::{self, ImportOptions, ImportProgress, ImportReport, ImportSource};
use brandgate::config::BrandConfig;
use indicatif::{ProgressBar, ProgressStyle};

use super::named;
use super::output::{self, complain, say};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Read catalogue files (the document's JSON, JSON lines, YML feeds) into a brand, all or nothing
    Import(Import),
    /// Write a brand's catalogue as the document's JSON
    Export(Export),
}

#[derive(clap::Args)]
pub struct Import {
    /// The brand's name
    #[arg(long)]
    brand: String,
    /// Files in order; REGION=FILE is the feed of one region, - is standard input
    #[arg(required = true, value_name = "[REGION=]FILE")]
    files: Vec<String>,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove what the files no longer have
    #[arg(long)]
    replace: bool,
    /// Fail, and change nothing, when any record cannot be used
    #[arg(long)]
    strict: bool,
    /// Write every record that was left out or corrected to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(clap::Args)]
pub struct Export {
    /// The brand's name
    #[arg(long)]
    brand: String,
    /// One record a line instead of one object
    #[arg(long)]
    lines: bool,
    /// Where to; standard output if not given
    file: Option<PathBuf>,
}

pub async fn run(brands: &[BrandConfig], command: Command) -> Result<(), String> {
    match command {
        Command::Import(arguments) => import(named(brands, &arguments.brand)?, &arguments).await,
        Command::Export(arguments) => export(named(brands, &arguments.brand)?, &arguments).await,
    }
}

async fn import(brand: &BrandConfig, arguments: &Import) -> Result<(), String> {
    let sources: Vec<ImportSource> = arguments.files.iter().map(|file| source(file)).collect();
    let options = ImportOptions { strict: arguments.strict, dry_run: arguments.dry_run, replace: arguments.replace };
    let mut report = match &arguments.report {
        Some(path) => {
            let same = |source: &ImportSource| {
                path.canonicalize().is_ok_and(|path| source.path.canonicalize().is_ok_and(|own| own == path))
            };
            if sources.iter().any(same) {
                return Err(format!("--report {}: that is one of the files to import", path.display()));
            }
            let file = File::create(path).map_err(|e| format!("{}: {e}", path.display()))?;
            ImportReport::with_full(Box::new(BufWriter::new(file)))
        }
        None => ImportReport::default(),
    };
    let progress = ImportProgress::default();
    let drawing = draw(&sources, progress.clone());
    let begun = Instant::now();
    let imported = import::run(brand, &sources, options, &progress, &mut report).await;
    drawing.abort();
    let told = report.finish();
    output::result(format_args!("{report}"));
    let summary = imported.map_err(|error| format!("{}: {error}", brand.name))?;
    let reported = told.map_err(|error| format!("{}: imported, but --report is not whole: {error}", brand.name));
    output::result(format_args!("{summary}"));
    let (whole, staging) = (begun.elapsed().as_secs_f64(), summary.staging.as_secs_f64());
    let done = if options.dry_run { "would be imported; nothing was changed" } else { "imported" };
    let items = summary.items_read;
    say!("{}: {items} item records {done} in {whole:.1} s (read and staged in {staging:.1} s)", brand.name);
    reported
}

/// `moscow=feed.xml` is a region's feed when what stands before the sign can be a region's id.
fn source(text: &str) -> ImportSource {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    match text.split_once('=') {
        Some((region, path)) if !region.is_empty() && region.bytes().all(plain) => {
            ImportSource { path: path.into(), region: Some(region.to_owned()) }
        }
        _ => ImportSource { path: text.into(), region: None },
    }
}

/// A bar on a terminal, a line in the log every ten seconds elsewhere.
fn draw(sources: &[ImportSource], progress: ImportProgress) -> tokio::task::JoinHandle<()> {
    let bytes = sources.iter().map(|source| std::fs::metadata(&source.path).map_or(0, |metadata| metadata.len())).sum();
    let bar = std::io::stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {msg}");
        ProgressBar::new(bytes).with_style(style.expect("the template is well-formed"))
    });
    let every = Duration::from_millis(if bar.is_some() { 100 } else { 10_000 });
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            let read = progress.bytes_read.load(Ordering::Relaxed);
            let items = progress.items_staged.load(Ordering::Relaxed);
            match &bar {
                Some(bar) if read >= bytes => bar.set_message(format!("{items} items staged, merging")),
                Some(bar) => bar.set_message(format!("{items} items staged")),
                None => tracing::info!(bytes_read = read, bytes, items_staged = items, "importing"),
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
            let told = |e: std::io::Error| format!("{}: {e}", path.display());
            // Behind a link it is the file that is written anew.
            let path = path.canonicalize().unwrap_or_else(|_| path.clone());
            let before = std::fs::metadata(&path).ok();
            if before.as_ref().is_some_and(|before| !before.is_file()) {
                // A device or a pipe is written to; a directory refuses by itself.
                let file = File::options().write(true).open(&path).map_err(told)?;
                export::export(brand, format, &mut BufWriter::new(file)).await
            } else {
                // Yesterday's file stays until today's is whole.
                let mut partial = path.clone().into_os_string();
                partial.push(".partial");
                let file = File::create(&partial).map_err(told)?;
                if let Some(before) = before {
                    file.set_permissions(before.permissions()).map_err(told)?;
                }
                let exported = export::export(brand, format, &mut BufWriter::new(file)).await;
                match &exported {
                    Ok(_) => std::fs::rename(&partial, &path).map_err(told)?,
                    Err(_) => std::fs::remove_file(&partial).map_err(told)?,
                }
                exported
            }
        }
        None => export::export(brand, format, &mut BufWriter::new(std::io::stdout())).await,
    };
    let records = exported.map_err(|error| format!("{}: {error}", brand.name))?;
    complain!("{}: {records} records exported", brand.name);
    Ok(())
}
