//! Migrations: applied once, in order, under a lock, never changed; roles and schemas; dump and restore of a brand.

use std::io::Write;
use std::process::Stdio;

use crate::harness::{Site, demo_shops, eventually, password_of, psql};

const HISTORY: &str = "select string_agg(version || ' ' || name, ',' order by version) from refinery_schema_history";

#[test]
fn a_second_run_applies_nothing() {
    let site = Site::unmigrated(&["dexar", "novo"]);
    let first = site.migrate().success();
    assert!(first.contains("dexar: applied V1__catalog") && first.contains("novo: applied V1__catalog"), "{first}");
    let history = site.sql_as("dexar", HISTORY).expect("the history exists");
    assert!(history.starts_with("1 catalog"), "{history}");
    site.import_demo("novo");
    let before = site.export("novo");
    for again in [site.migrate().success(), site.run(&["migrate"]).success()] {
        assert_eq!(again, "dexar: up to date\nnovo: up to date\n");
    }
    assert_eq!(site.sql_as("dexar", HISTORY), Ok(history));
    assert_eq!(site.export("novo"), before);
}

#[test]
fn a_migration_that_changed_after_it_was_applied_is_refused() {
    let site = Site::new(&["dexar", "novo"]);
    site.sql_as("dexar", "update refinery_schema_history set checksum = '1' where version = 1")
        .expect("the role owns the table");
    let refused = site.run(&["migrate"]);
    assert_eq!(refused.status, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("dexar") && refused.stderr.contains("catalog"), "{refused:?}");
    assert!(refused.stderr.contains("different"), "the difference is reported: {refused:?}");
    assert!(refused.stderr.contains("install the version that made the schema"), "the remedy is reported: {refused:?}");
    assert!(!refused.stdout.contains("begin;"), "no SQL for an administrator: {refused:?}");
    assert!(refused.stdout.contains("novo: up to date"), "the other brand is migrated: {refused:?}");
}

#[test]
fn migrations_of_a_newer_version_are_kept_and_reported() {
    let site = Site::new(&["dexar"]);
    let newer = "insert into refinery_schema_history select 999, 'from_the_future', applied_on, '7' from refinery_schema_history limit 1";
    site.sql_as("dexar", newer).expect("the role owns the table");
    let output = site.run(&["migrate"]).success();
    assert_eq!(output, "dexar: up to date; also applied by a newer version: V999__from_the_future\n");
    assert!(site.run(&["check"]).success().contains("all applied"), "a rolled-back version serves");
    // Checksums of the older migrations are still verified.
    site.sql_as("dexar", "update refinery_schema_history set checksum = '1' where version = 1")
        .expect("the role owns the table");
    site.run(&["migrate"]).failure(1);
}

#[tokio::test]
async fn a_migration_that_waits_for_a_lock_blocks_no_requests() {
    let site = Site::new(&["dexar"]);
    site.import_demo("dexar");
    let back = "drop index payment_status_idx, payment_to_settle_idx, receipt_failed_idx; \
                alter table payment drop column asked_of_money, drop column fulfilment; drop table telegram_update; \
                drop view payment_refunded; drop table unknown_money, refund_receipt, refund_line, settlement; \
                alter table item drop column vat; alter table payment_line drop column vat, drop column short; \
                alter table receipt drop column without_section; drop index refund_open_idx, refund_payment_id_ordinal_key, payment_owner_link_owner_idx, \
                payment_completed_at_idx; \
                alter table refund drop column ordinal, drop column restock, drop column restocked_at, \
                drop column found_at_bank, drop column next_poll_at; \
                delete from refinery_schema_history where version >= 9";
    let gateway = site.start();
    site.sql_as("dexar", back).expect("the role owns the tables");
    // A long transaction reads the view that the migration replaces.
    let reader = site.connect_as("dexar").await;
    reader.batch_execute("begin; select from listed_item limit 1").await.expect("a list");
    let mut migrating = site.spawn(&["migrate"]);
    let client = gateway.client("dexar");
    for number in 0..30 {
        let answer = client.get(&format!("/item/1001?number={number}")).await;
        assert_eq!(answer.status, 200, "request {number}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(migrating.try_wait().expect("a child process").is_none(), "the migration still waits");
    reader.batch_execute("commit").await.expect("it commits");
    let ended = eventually("the migration", 30, || migrating.try_wait().expect("a child process"));
    assert!(ended.success());
    assert_eq!(
        site.sql_as("dexar", "select count(*) from refinery_schema_history where version >= 9"),
        Ok("6".to_owned())
    );
}

#[test]
fn concurrent_runs_apply_each_migration_once() {
    for round in 0..4 {
        let site = Site::unmigrated(&["dexar", "novo"]);
        let url = site.services.admin_url(&site.database);
        let ended: Vec<_> = {
            let _lock = site.services.roles.lock().expect("no test panics while it holds this");
            std::thread::scope(|scope| {
                let runs: Vec<_> =
                    (0..3).map(|_| scope.spawn(|| site.run(&["migrate", "--admin-url", &url]))).collect();
                runs.into_iter().map(|run| run.join().expect("no panic")).collect()
            })
        };
        let output: Vec<String> = ended.into_iter().map(crate::harness::CommandOutput::success).collect();
        for brand in ["dexar", "novo"] {
            let applied = output.iter().filter(|output| output.contains(&format!("{brand}: applied"))).count();
            assert_eq!(applied, 1, "round {round}: {output:?}");
            assert!(site.sql_as(brand, HISTORY).expect("it exists").starts_with("1 catalog"));
        }
    }
}

/// A role belongs to the whole server (staging and production on one server), so concurrent runs alter the same one.
#[test]
fn concurrent_runs_of_several_databases_create_their_shared_role() {
    let sites: Vec<Site> = (0..4)
        .map(|_| {
            let mut site = Site::unmigrated(&[]);
            site.add_brand("racer");
            site
        })
        .collect();
    for _ in 0..8 {
        std::thread::scope(|scope| {
            for site in &sites {
                let url = site.services.admin_url(&site.database);
                scope.spawn(move || site.run(&["migrate", "--admin-url", &url]).success());
            }
        });
    }
}

#[test]
fn without_an_administrator_the_sql_for_one_is_printed() {
    // Roles belong to the server; no other test uses this one.
    let mut site = Site::unmigrated(&[]);
    site.add_brand("newcomer");
    let refused = site.run(&["migrate"]);
    assert_eq!(refused.status, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("administrator"), "{refused:?}");
    let script = &refused.stdout;
    assert!(script.contains("brandgate.role = 'newcomer'") && script.contains("password = ''"), "{script}");
    assert!(!script.contains(&password_of("newcomer")), "the password is not printed");

    let quoted = format!("'{}'", password_of("newcomer").replace('\'', "''"));
    let filled = script.replace("password = ''", &format!("password = {quoted}"));
    let mut admin = site.services.admin_program("psql", &site.database);
    let mut admin =
        admin.args(["-Xq", "-v", "ON_ERROR_STOP=1", "-f", "-"]).stdin(Stdio::piped()).spawn().expect("psql runs");
    admin.stdin.take().expect("piped").write_all(filled.as_bytes()).expect("psql reads");
    assert!(admin.wait().expect("our child").success());
    assert!(site.run(&["migrate"]).success().contains("newcomer: applied V1__catalog"));
    site.run(&["check"]).success();
}

#[test]
fn an_administrators_run_can_be_repeated_and_changes_a_password() {
    let mut site = Site::unmigrated(&[]);
    site.add_brand("turncoat");
    site.migrate().success();
    site.directory.write("credentials/turncoat.database-password", "another one");
    let refused = site.run(&["migrate"]);
    assert_eq!(refused.status, Some(1), "the server still has the old password: {refused:?}");
    site.migrate().success();
    assert_eq!(site.run(&["migrate"]).success(), "turncoat: up to date\n");
}

#[test]
fn an_administrator_need_not_be_a_superuser() {
    let mut site = Site::unmigrated(&[]);
    site.add_brand("modest");
    let admin = "modest_admin";
    let create_admin =
        format!("create role {admin} login createrole password 'p'; alter database {} owner to {admin}", site.database);
    site.services.admin_sql("postgres", &create_admin);
    site.services.admin_sql(
        &site.database,
        &format!("grant all on schema public to {admin} with grant option; alter schema public owner to {admin}"),
    );
    let url = site.services.admin_url(&site.database);
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let host = rest.split_once('@').expect("user@host").1;
    let output = site.run(&["migrate", "--admin-url", &format!("{scheme}://{admin}:p@{host}")]).success();
    assert!(output.contains("modest: applied"), "{output}");
}

#[tokio::test]
async fn a_restored_dump_serves_the_same_responses() {
    let demo = demo_shops();
    let source = &demo.site;
    for brand in ["dexar", "novo"] {
        let dump = source
            .services
            .admin_program("pg_dump", &source.database)
            .args(["-n", brand])
            .output()
            .expect("pg_dump runs");
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        let target = Site::unmigrated(&[brand]);
        let file = target.directory.write("dump.sql", &dump.stdout);
        let mut restore = target.services.admin_program("psql", &target.database);
        let restored =
            restore.args(["-Xq", "-v", "ON_ERROR_STOP=1", "-1", "-f"]).arg(file).output().expect("psql runs");
        assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
        // Rights and the role's search_path belong to the database and the server, not to the dump.
        assert_eq!(target.migrate().success(), format!("{brand}: up to date\n"));
        psql(target.services.admin_program("psql", &target.database), "set search_path = ''; analyze")
            .expect("analyze works without a search_path");

        let gateway = target.start();
        let (old, new) = (demo.gateway.client(brand), gateway.client(brand));
        for path in [
            "/regions",
            "/category",
            "/category/1?count=200",
            "/item/1213",
            "/item/110101000006",
            "/searchitems?search=fruit",
            "/searchitems?search=%D0%BA%D0%BE%D0%BB%D0%BE%D0%BD%D0%BA%D0%B8&count=200",
        ] {
            let (old, new) = (old.get(path).await, new.get(path).await);
            assert_eq!((old.status, &old.body), (new.status, &new.body), "{brand} {path}");
        }
        assert_eq!(target.export(brand), source.export(brand));
        target
            .import_text(
                brand,
                "more.jsonl",
                "{\"itemID\":424242,\"categoryID\":1,\"name\":\"Новый\",\"price\":1,\"comments\":[{\"text\":\"!\"}]}",
                &["--strict"],
            )
            .success();
        assert_eq!(new.json("/item/424242").await["name"], "Новый", "the restored schema accepts writes");
    }
}
