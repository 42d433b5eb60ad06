//! PgBouncer between the shop and PostgreSQL: it is refused with the reason.

use std::os::unix::fs::MetadataExt;

use crate::harness::{Process, Services, Site, eventually, free_port, password_of};

/// Starts PgBouncer in front of the site's PostgreSQL; `setting` is a line of its file. It listens on 127.0.0.1.
fn pooler(site: &Site, services: &Services, port: u16, setting: &str) -> Process {
    let password = password_of("dexar").replace('"', "\"\"");
    let directory = services.postgres_data().join(format!("pooler-{port}"));
    std::fs::create_dir(&directory).expect("a new directory");
    let users = directory.join("users");
    let socket = services.postgres_socket();
    let socket = socket.parent().expect("a directory").display();
    let file = format!(
        "[databases]\n{0} = host={socket} port={1} dbname={0}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         unix_socket_dir =\nauth_type = plain\nauth_file = {2}\n{setting}\n",
        site.database,
        services.postgres_port(),
        users.display()
    );
    for (name, text) in [("users", format!("\"dexar\" \"{password}\"\n")), ("pgbouncer.ini", file)] {
        std::fs::write(directory.join(name), text).expect("a new file");
    }
    for path in [&directory, &users, &directory.join("pgbouncer.ini")] {
        services.give_to_postgres(path);
    }
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let process = Process::start("pgbouncer", "pgbouncer", site.directory.path(), |command| {
        // It refuses to run as root.
        if is_root {
            command.args(["-u", "postgres"]);
        }
        command.arg(directory.join("pgbouncer.ini")).current_dir("/");
    });
    eventually("PgBouncer listens", 20, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    process
}

#[test]
fn a_pooler_is_refused_with_the_reason() {
    let services = Services::dedicated("postgres-pooler");
    let mut site = Site::on(services.clone(), &["dexar"]);
    site.migrate().success();
    for (setting, words) in [
        (
            "pool_mode = session",
            "unsupported startup parameter: options): set [database] url to PostgreSQL itself (PgBouncer is not supported)",
        ),
        ("pool_mode = session\nignore_startup_parameters = options", "a pooler in between drops lock_timeout"),
        ("pool_mode = transaction\nignore_startup_parameters = options", "a pooler in between drops lock_timeout"),
    ] {
        let port = free_port();
        let pooler = pooler(&site, &services, port, setting);
        let url = format!("postgresql://127.0.0.1:{port}/{}", site.database);
        site.change_brand("dexar", |brand| brand.database_url = url);
        // The second time the connections of the pooler have been used.
        for _ in 0..2 {
            let output = site.run(&["check"]);
            assert!(output.stdout.contains(words), "{setting}: {} {} {}", output.stdout, output.stderr, pooler.log());
        }
        let gateway = site.start_without_waiting();
        gateway.await_log("pooler");
    }
}
