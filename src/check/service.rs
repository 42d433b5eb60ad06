//! Whether the user that the units run as can read a file, when root asks: root itself can read everything.
//!
//! Called by `files`. What must never happen: a tick for a key that the service cannot open.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The user of the units (systemd/sysusers.d).
const NAME: &str = "brandgate";

/// The user of the units, as /etc/passwd and /etc/group know it (passwd(5), group(5)).
pub(super) struct ServiceUser {
    user_id: u32,
    group_ids: Vec<u32>,
}

impl ServiceUser {
    /// `None` where it does not exist, and for who is not root: what they cannot read, they are told by reading it.
    pub fn find() -> Option<ServiceUser> {
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        let passwd = std::fs::read_to_string("/etc/passwd").ok().filter(|_| is_root)?;
        ServiceUser::of(&passwd, &std::fs::read_to_string("/etc/group").unwrap_or_default())
    }

    fn of(passwd: &str, group: &str) -> Option<ServiceUser> {
        let named = |line: &&str| line.split(':').next() == Some(NAME);
        let mut fields = passwd.lines().find(named)?.split(':').skip(2);
        let user_id = fields.next()?.parse().ok()?;
        let own = fields.next()?.parse().ok()?;
        let others = group.lines().filter_map(|line| {
            let [_, _, group_id, members] = line.split(':').collect::<Vec<_>>().try_into().ok()?;
            members.split(',').any(|member| member == NAME).then(|| group_id.parse().ok())?
        });
        Some(ServiceUser { user_id, group_ids: std::iter::once(own).chain(others).collect() })
    }

    /// The file, or the directory on the way to it, that keeps the service from reading; links are followed.
    pub fn kept_out_by(&self, file: &Path) -> Option<PathBuf> {
        let file = std::fs::canonicalize(file).ok()?;
        let directories = file.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev();
        let closed = directories.into_iter().find(|directory| !self.may(directory, 0o1));
        closed.or_else(|| (!self.may(&file, 0o4)).then_some(&*file)).map(Path::to_owned)
    }

    /// As the kernel decides: the owner's bits for the owner, the group's for its members, the others' for the rest.
    fn may(&self, path: &Path, bit: u32) -> bool {
        std::fs::metadata(path).is_ok_and(|found| {
            let shift = match found.uid() == self.user_id {
                true => 6,
                false if self.group_ids.contains(&found.gid()) => 3,
                false => 0,
            };
            found.mode() >> shift & bit != 0
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn its_own_and_its_other_groups_count() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbrandgate:x:998:997::/:/usr/sbin/nologin\n";
        let group = "ssl-cert:x:110:postgres,brandgate\nother:x:111:brandgates\nbrandgate:x:997:\n";
        let user = ServiceUser::of(passwd, group).expect("it is there");
        assert_eq!((user.user_id, user.group_ids), (998, vec![997, 110]));
        assert!(ServiceUser::of("brandgates:x:1:1::/:", group).is_none());
    }

    #[test]
    fn what_keeps_it_out_is_named() {
        let directory = std::env::temp_dir().join(format!("brandgate-service-{}", std::process::id()));
        let inner = directory.join("certs");
        std::fs::create_dir_all(&inner).expect("made");
        let key = inner.join("key.pem");
        std::fs::write(&key, "key").expect("written");
        let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("set");
        mode(&directory, 0o711);
        let found = std::fs::metadata(&key).expect("it is there");
        let stranger = ServiceUser { user_id: found.uid() + 7, group_ids: vec![found.gid() + 7] };
        let member = ServiceUser { user_id: found.uid() + 7, group_ids: vec![found.gid()] };
        mode(&inner, 0o750);
        mode(&key, 0o640);
        assert_eq!(stranger.kept_out_by(&key).as_deref(), Some(&*inner.canonicalize().expect("it is there")));
        assert_eq!(member.kept_out_by(&key), None);
        mode(&inner, 0o755);
        mode(&key, 0o604);
        assert_eq!(stranger.kept_out_by(&key), None);
        assert_eq!(member.kept_out_by(&key), Some(key.canonicalize().expect("it is there")), "the group's bits decide");
        std::fs::remove_dir_all(directory).expect("removed");
    }
}
