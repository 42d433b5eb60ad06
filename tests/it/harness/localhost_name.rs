//! The address of the name `localhost`, which a test changes for one program.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use super::preload::compile;
use super::site::Site;

/// Resolves `localhost` to the address in a shared file, as when a DNS record changes.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const char *address;

__attribute__((constructor)) static void prepare(void) {
    void *mapped = mmap(NULL, 16, PROT_READ, MAP_SHARED, open(getenv("LOCALHOST_ADDRESS_FILE"), O_RDONLY), 0);
    if (mapped == MAP_FAILED) abort();
    address = mapped;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    int (*resolve)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&resolve = dlsym(RTLD_NEXT, "getaddrinfo");
    return resolve(node && !strcmp(node, "localhost") ? (const char *)address : node, service, hints, found);
}
"#;

static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| compile("localhost", SOURCE));

/// What `localhost` stands for in the programs of a site.
pub(crate) struct LocalhostName(File);

impl LocalhostName {
    /// The programs that `site` starts from now on resolve `localhost` to this address.
    pub(crate) fn install(site: &mut Site, address: Ipv4Addr) -> LocalhostName {
        let path = site.directory.write("localhost-address", [0; 16]);
        site.environment.push(("LD_PRELOAD", LIBRARY.display().to_string()));
        site.environment.push(("LOCALHOST_ADDRESS_FILE", path.display().to_string()));
        let name = LocalhostName(File::options().write(true).open(path).expect("just written"));
        name.change(address);
        name
    }

    /// Changes the address at once and in all running programs.
    pub(crate) fn change(&self, address: Ipv4Addr) {
        let mut text = [0; 16];
        let address = address.to_string();
        text[..address.len()].copy_from_slice(address.as_bytes());
        self.0.write_all_at(&text, 0).expect("an open file");
    }
}
