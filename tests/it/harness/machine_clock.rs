//! A machine's clock that a test sets, for one program.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use super::preload::compile;
use super::site::Site;

/// Adds the seconds in a shared file to `CLOCK_REALTIME`. The monotonic clock is left alone, as when an administrator or NTP steps the
/// clock of a machine.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static int (*get_time)(clockid_t, struct timespec *);
static volatile int64_t *offset_s;

__attribute__((constructor)) static void prepare(void) {
    *(void **)&get_time = dlsym(RTLD_NEXT, "clock_gettime");
    void *mapped = mmap(NULL, sizeof *offset_s, PROT_READ, MAP_SHARED, open(getenv("CLOCK_OFFSET_FILE"), O_RDONLY), 0);
    if (mapped == MAP_FAILED) abort();
    offset_s = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (!get_time) prepare();
    int result = get_time(clock, time);
    if (clock == CLOCK_REALTIME) time->tv_sec += *offset_s;
    return result;
}
"#;

static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| compile("clock", SOURCE));

/// The clock of the machine on which the programs of a site run. Sites without one have the true time.
pub(crate) struct MachineClock(File);

impl MachineClock {
    /// The programs that `site` starts from now on have this clock, which shows the true time at first.
    pub(crate) fn install(site: &mut Site) -> MachineClock {
        let path = site.directory.write("clock-offset", 0_i64.to_ne_bytes());
        site.environment.push(("LD_PRELOAD", LIBRARY.display().to_string()));
        site.environment.push(("CLOCK_OFFSET_FILE", path.display().to_string()));
        MachineClock(File::options().write(true).open(path).expect("just written"))
    }

    /// Sets the clock to this many seconds after the true time, at once and in all running programs.
    pub(crate) fn step_to(&self, offset_s: i64) {
        self.0.write_all_at(&offset_s.to_ne_bytes(), 0).expect("an open file");
    }
}
