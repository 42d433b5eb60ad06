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

/// Returns a brand's schema to the migrations up to this number, without any data.
fn return_to_version(site: &Site, brand: &str, version: u32) {
    let drop_all = "do $$ declare name text; begin
        for name in select tablename from pg_tables where schemaname = current_schema()
                    and tablename <> 'refinery_schema_history' loop
            execute format('drop table %I cascade', name);
        end loop;
        for name in select oid::regprocedure from pg_proc where pronamespace = current_schema()::regnamespace loop
            execute format('drop function %s cascade', name);
        end loop;
    end $$";
    site.sql_as(brand, drop_all).expect("the role owns the schema");
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let mut files: Vec<_> =
        std::fs::read_dir(directory).expect("readable").map(|e| e.expect("an entry").path()).collect();
    files.sort();
    for file in files {
        let number = file.file_name().and_then(|name| name.to_str()?.split('_').next()?.parse::<u32>().ok());
        if number.is_some_and(|number| number <= version) {
            site.sql_as(brand, &std::fs::read_to_string(&file).expect("readable")).expect("an older migration");
        }
    }
    let forget = format!("delete from refinery_schema_history where version > {version}");
    site.sql_as(brand, &forget).expect("the role owns the table");
}

#[tokio::test]
async fn a_migration_that_waits_for_a_lock_blocks_no_requests() {
    let site = Site::new(&["dexar"]);
    let applied = site.sql_as("dexar", "select count(*) from refinery_schema_history").expect("the history");
    let gateway = site.start();
    return_to_version(&site, "dexar", 8);
    let shop = "insert into category (category_id, id, name) values (1, 'cat_1', 'Дом');
        insert into item (item_id, id, category_id, name, price, quantity) values (1001, 'item_1001', 1, 'Стул', 5, 7)";
    site.sql_as("dexar", shop).expect("an older schema");
    // A long transaction reads the view that the migration replaces.
    let reader = site.connect_as("dexar").await;
    reader.batch_execute("begin; select from listed_item limit 1").await.expect("a list");
    let mut migrating = site.spawn(&["migrate"]);
    let client = gateway.client("dexar");
    for number in 0..30 {
        // A request that the previous version answers with the same statements, and that finds no item, whose columns are others.
        let answer = client.get(&format!("/searchitems?search=%D1%88%D0%BA%D0%B0%D1%84&number={number}")).await;
        assert_eq!(answer.status, 200, "request {number}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(migrating.try_wait().expect("a child process").is_none(), "the migration still waits");
    reader.batch_execute("commit").await.expect("it commits");
    let ended = eventually("the migration", 30, || migrating.try_wait().expect("a child process"));
    assert!(ended.success());
    assert_eq!(site.sql_as("dexar", "select count(*) from refinery_schema_history"), Ok(applied));
    assert_eq!(client.json("/item/1001").await["quantity"], 7);
}

#[test]
fn stock_holds_and_sales_survive_the_move_into_tables_of_their_own() {
    let site = Site::new(&["dexar"]);
    return_to_version(&site, "dexar", 12);
    // Three units of item 1 are held, one is held of an item that was dropped, and two of item 1 were sold.
    let shop = "insert into category (category_id, id, name) values (1, 'cat_1', 'Дом');
        insert into item (item_id, id, category_id, name, price, quantity, remainings, held) values
            (1, 'item_1', 1, 'Стул', 5, 7, null, 0), (2, 'item_2', 1, 'Стол', 5, null, 'low', 9), (3, 'item_3', 1, 'Шкаф', 5, 1, null, 0);
        insert into payment (owner, site_order_id, bank_order_id, status, amount, address, created_at, expires_at, holds, completed_at)
            values ('visitor:1', 'o1', 'b1', 'CREATED', 5, '127.0.0.1', now(), now(), true, null),
                   ('visitor:1', 'o2', 'b2', 'COMPLETED', 5, '127.0.0.1', now(), now(), false, now());
        insert into payment_line (payment_id, item_id, position, name, list_price, price, quantity)
            values (1, 1, 1, 'Стул', 5, 5, 3), (1, 3, 2, 'Шкаф', 5, 5, 1), (2, 1, 1, 'Стул', 5, 5, 2);
        delete from item where item_id = 3";
    site.sql_as("dexar", shop).expect("an older schema");
    site.run(&["migrate"]).success();
    let stock =
        "select string_agg(concat_ws(' ', item_id, quantity, level, held), ', ' order by item_id) from item_stock";
    assert_eq!(site.sql_as("dexar", stock).as_deref(), Ok("1 7 3, 2 low 0, 3 out 1"), "what is held is counted again");
    let sold = "select string_agg(concat_ws(' ', item_id, quantity), ', ') from stock_movement";
    assert_eq!(site.sql_as("dexar", sold).as_deref(), Ok("1 -2"));
    // The previous version completes a payment and imports a count.
    let older = "update payment set status = 'COMPLETED', completed_at = now(), holds = false where payment_id = 1;
        update item set quantity = 4, remainings = null where item_id = 2";
    site.sql_as("dexar", older).expect("the statements of an older version");
    assert_eq!(site.sql_as("dexar", stock).as_deref(), Ok("1 4 0, 2 4 0, 3 out 0"));
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
