//! Imports with concurrent readers, killed imports, concurrent imports: the old catalogue is visible or the new one,
//! never a mixture.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::database_failures::sessions;
use crate::harness::{Client, Gateway, Site, eventually, eventually_async};
use crate::import::table;

/// A complete catalogue whose names, prices and number of items identify its generation.
fn generation(number: u64, items: u64) -> String {
    let mut lines = format!("{{\"categoryID\":1,\"name\":\"Поколение {number}\"}}\n");
    for item in 1..=items {
        lines += &format!(
            "{{\"itemID\":{item},\"categoryID\":1,\"name\":\"Поколение {number}\",\"price\":{number},\"quantity\":{number},\
              \"description\":\"{}\"}}\n",
            "описание ".repeat(20)
        );
    }
    lines
}

/// The generation of a list of items and their number; panics when the items are of several generations.
#[track_caller]
fn only_generation(items: &Value) -> (u64, usize) {
    let items = items.as_array().expect("a list");
    let seen: BTreeSet<(u64, String, u64)> = items
        .iter()
        .map(|item| {
            let number = |key: &str| item[key].as_u64().expect("a number");
            (number("price"), item["name"].as_str().expect("a text").to_owned(), number("quantity"))
        })
        .collect();
    assert_eq!(seen.len(), 1, "one response shows several catalogues: {seen:?}");
    let (price, name, quantity) = seen.into_iter().next().expect("exactly one");
    assert_eq!((name, quantity), (format!("Поколение {price}"), price));
    (price, items.len())
}

/// Reads every endpoint; returns the generations that were seen. Generation g has 100 + g items.
async fn read_generations(client: &Client) -> Vec<u64> {
    let generation_of = |items: &Value| {
        let (number, count) = only_generation(items);
        assert_eq!(count as u64, 100 + number, "a list of one catalogue with the length of another");
        number
    };
    let page = client.json("/category/1?count=200").await;
    let found =
        client.json("/searchitems?search=%D0%BF%D0%BE%D0%BA%D0%BE%D0%BB%D0%B5%D0%BD%D0%B8%D0%B5&count=200").await;
    let random = client.json("/randomitems?count=200").await;
    let tree = client.json("/category").await;
    let total = found["total"].as_u64().expect("a number");
    let name = tree[0]["name"].as_str().expect("a text");
    let in_tree = tree[0]["itemCount"].as_u64().expect("a count") - 100;
    assert_eq!(name, format!("Поколение {in_tree}"), "the name of one catalogue with the count of another");
    // The numbers to draw from are cached for up to a second after a change by another process: a new item may be
    // missing, but drawn items are current.
    let (drawn, count) = only_generation(&random);
    assert!([99 + drawn, 100 + drawn].contains(&(count as u64)), "{count} of generation {drawn}");
    let seen = vec![generation_of(&page), generation_of(&found["items"]), drawn, in_tree];
    assert_eq!(total, 100 + seen[1]);
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_the_old_or_the_new_catalogue_and_no_mixture() {
    let site = Arc::new(Site::new(&["novo"]));
    let paths: Vec<String> = (1..=8)
        .map(|g| {
            site.directory.write(&format!("{g}.jsonl"), generation(g, 100 + g)).to_str().expect("UTF-8").to_owned()
        })
        .collect();
    site.import("novo", &["--replace", "--strict", &paths[0]]).success();
    let gateway = site.start();
    let importing = Arc::new(AtomicBool::new(true));
    let import = {
        let (site, importing) = (site.clone(), importing.clone());
        tokio::task::spawn_blocking(move || {
            for path in &paths[1..] {
                site.import("novo", &["--replace", "--strict", path]).success();
            }
            importing.store(false, Ordering::Relaxed);
        })
    };
    let read = async |client: Client| {
        let mut seen = Vec::new();
        // A failed import ends the readers too.
        while importing.load(Ordering::Relaxed) && !import.is_finished() {
            seen.extend(read_generations(&client).await);
        }
        seen
    };
    let (first, second) = tokio::join!(read(gateway.client("novo")), read(gateway.client("novo").http1()));
    import.await.expect("every import succeeds");
    let client = gateway.client("novo");
    eventually_async("the last import is visible", 10, async || {
        (read_generations(&client).await == [8; 4]).then_some(())
    })
    .await;
    let generations: BTreeSet<u64> = first.iter().chain(&second).copied().collect();
    assert!(first.len() > 20 && generations.len() > 2, "the catalogue changed while it was read: {generations:?}");
}

/// Writes the stock that a killed import has left unwritten. An import that changes the stock of many items commits the catalogue first.
fn complete_stock(site: &Site) {
    let is_complete = || (site.sql_as("dexar", "select count(*) from stock_count").expect("sql") == "0").then_some(());
    if is_complete().is_none() {
        let workers = site.start_workers();
        eventually("the stock is complete", 60, is_complete);
        workers.terminate();
        assert!(workers.await_exit().success());
    }
}

/// The catalogue without what imports have hidden, for comparison.
fn state(site: &Site) -> String {
    let export = site.export("dexar");
    let records = export.lines().filter(|record| !record.contains("\"retiredAt\""));
    records.map(|record| record.trim_end_matches(',')).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_killed_import_keeps_the_old_catalogue_and_the_next_one_succeeds() {
    let site = Site::new(&["dexar"]);
    let old = site.directory.write("old.jsonl", generation(1, 3_000));
    let new = site.directory.write("new.jsonl", generation(2, 3_100));
    let [old, new] = [&old, &new].map(|path| path.to_str().expect("UTF-8"));
    site.import("dexar", &["--replace", old]).success();
    let old_state = state(&site);
    let started_at = Instant::now();
    site.import("dexar", &["--replace", new]).success();
    let duration = started_at.elapsed();
    let new_state = state(&site);
    assert_ne!(old_state, new_state);
    site.import("dexar", &["--replace", old]).success();

    let mut killed = 0;
    for part in 0..12u32 {
        let arguments = ["catalog", "import", "--brand", "dexar", "--replace", new];
        let mut import = site.spawn(&arguments);
        // From the start to shortly before the end, with jitter so that runs differ.
        let jitter = Duration::from_micros(u64::from(started_at.elapsed().subsec_micros() % 5_000));
        std::thread::sleep(duration * part / 12 + jitter);
        let had_exited = import.try_wait().expect("our child process").is_some();
        import.kill().expect("our child process");
        import.wait().expect("our child process");
        // PostgreSQL may be committing what it had received.
        eventually("its session ends", 30, || (sessions(&site, "") == "0").then_some(()));
        complete_stock(&site);
        let found = state(&site);
        if found == new_state {
            // It was killed after the commit.
            site.import("dexar", &["--replace", old]).success();
            assert_eq!(state(&site), old_state);
            continue;
        }
        assert!(!had_exited, "an import that exited by itself had no effect");
        assert_eq!(found.len(), old_state.len(), "killed at {part}/12");
        assert!(found == old_state, "killed at {part}/12: the catalogue is neither the old nor the new one");
        killed += 1;
    }
    assert!(killed >= 4, "only {killed} imports were killed before their commit");
    let after = site.import("dexar", &["--replace", "--strict", new]).success();
    assert_eq!(table(&after)[2], [0, 3_100, 0], "{after}");
    assert!(state(&site) == new_state);
}

#[test]
fn of_two_concurrent_full_imports_one_wins() {
    let site = Site::new(&["dexar"]);
    let files = [1, 2].map(|g| site.directory.write(&format!("{g}.jsonl"), generation(g, 400 + 10 * g)));
    let states = files.each_ref().map(|path| {
        site.import("dexar", &["--replace", path.to_str().expect("UTF-8")]).success();
        state(&site)
    });
    for _ in 0..5 {
        std::thread::scope(|scope| {
            for path in &files {
                let site = &site;
                scope.spawn(move || site.import("dexar", &["--replace", path.to_str().expect("UTF-8")]).success());
            }
        });
        let left = state(&site);
        assert!(states.contains(&left), "a mixture of the two catalogues");
    }
}

#[test]
fn two_concurrent_deltas_are_both_applied() {
    let site = Site::new(&["dexar"]);
    site.import_text("dexar", "base.jsonl", generation(1, 300), &[]).success();
    let delta = |member: &str, value: u64| -> String {
        (1..=300).map(|item| format!("{{\"itemID\":{item},\"{member}\":{value}}}\n")).collect()
    };
    for round in 2..6 {
        std::thread::scope(|scope| {
            for member in ["price", "quantity"] {
                let (site, text) = (&site, delta(member, round));
                let name = format!("{member}-{round}.jsonl");
                scope.spawn(move || site.import_text("dexar", &name, text, &["--strict"]).success());
            }
        });
        let count =
            "select count(*) from item join item_stock using (item_id) where price = item_stock.quantity and price = "
                .to_owned()
                + &round.to_string();
        assert_eq!(site.sql_as("dexar", &count).as_deref(), Ok("300"));
    }
}

/// The import lock is per brand.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_import_does_not_block_the_other_brand() {
    let site = Site::new(&["dexar", "novo"]);
    site.import_text("novo", "first.jsonl", generation(1, 101), &[]).success();
    let lock = "select pg_advisory_lock(hashtextextended('brandgate:import:dexar', 0))";
    let (holder, connection) = tokio_postgres::connect(&site.services.admin_url(&site.database), tokio_postgres::NoTls)
        .await
        .expect("PostgreSQL accepts connections");
    let driving = tokio::spawn(connection);
    holder.execute(lock, &[]).await.expect("the lock is free");
    let mut waiting =
        site.spawn(&["catalog", "import", "--brand", "dexar", &crate::harness::data("import/legacy.json")]);
    let second = generation(2, 102);
    tokio::task::block_in_place(|| site.import_text("novo", "second.jsonl", second, &["--replace"]).success());
    let gateway: Gateway = site.start();
    assert_eq!(read_generations(&gateway.client("novo")).await, [2; 4]);
    assert!(waiting.try_wait().expect("our child process").is_none(), "Dexar's import waits for its lock");
    drop(holder);
    driving.await.expect("no panic").expect("it closes normally");
    let status =
        crate::harness::eventually("Dexar's import ends", 10, || waiting.try_wait().expect("our child process"));
    assert!(status.success());
}

#[test]
fn an_attempt_that_fails_at_its_end_is_not_reported() {
    let site = Site::new(&["dexar"]);
    site.import_text("dexar", "base.jsonl", generation(1, 3), &[]).success();
    // Sequences are not rolled back: the first attempt fails when its counts are applied, and the second succeeds.
    let fail_once = "create sequence attempt;
        create function fail_once() returns trigger language plpgsql as $$
        begin
            if nextval('attempt') = 1 then
                raise exception 'another transaction' using errcode = 'deadlock_detected';
            end if;
            return old;
        end $$;
        create trigger fail_once before delete on stock_count for each row execute function fail_once()";
    site.sql_as("dexar", fail_once).expect("created");
    let delta = "{\"itemID\":1,\"quantity\":7}\n{\"itemID\":2,\"name\":\"Другое\"}\n";
    let output = site.import_text("dexar", "delta.jsonl", delta, &[]).success();
    assert_eq!(site.sql_as("dexar", "select last_value from attempt").as_deref(), Ok("2"), "{output}");
    assert!(output.contains("corrected: 1 × gets a name that shares no word"), "{output}");
    assert_eq!(site.sql_as("dexar", "select quantity from item_stock where item_id = 1").as_deref(), Ok("7"));
}
