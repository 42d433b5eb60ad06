//! File access of the service user, computed from permissions, because root itself can read everything.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The user of the units (systemd/sysusers.d).
const SERVICE_USER: &str = "brandgate";

/// The user of the units with its groups, from /etc/passwd and /etc/group (passwd(5), group(5)).
pub(super) struct ServiceUser {
    user_id: u32,
    group_ids: Vec<u32>,
}

impl ServiceUser {
    /// `None` where the user does not exist, and unless root runs the check: other users learn what is unreadable by reading it.
    pub(super) fn find() -> Option<ServiceUser> {
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        let passwd = std::fs::read_to_string("/etc/passwd").ok().filter(|_| is_root)?;
        ServiceUser::parse(&passwd, &std::fs::read_to_string("/etc/group").unwrap_or_default())
    }

    fn parse(passwd: &str, group: &str) -> Option<ServiceUser> {
        let is_service_user = |line: &&str| line.split(':').next() == Some(SERVICE_USER);
        let mut fields = passwd.lines().find(is_service_user)?.split(':').skip(2);
        let user_id = fields.next()?.parse().ok()?;
        let primary_group_id = fields.next()?.parse().ok()?;
        let other_group_ids = group.lines().filter_map(|line| {
            let [_, _, group_id, members] = line.split(':').collect::<Vec<_>>().try_into().ok()?;
            members.split(',').any(|member| member == SERVICE_USER).then(|| group_id.parse().ok())?
        });
        Some(ServiceUser { user_id, group_ids: std::iter::once(primary_group_id).chain(other_group_ids).collect() })
    }

    /// The file, or the first directory of its path, that the user may not access; links are followed.
    pub(super) fn blocked_by(&self, file: &Path) -> Option<PathBuf> {
        let file = std::fs::canonicalize(file).ok()?;
        let directories = file.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev();
        let blocked = directories.into_iter().find(|directory| !self.has_permission(directory, 0o1));
        blocked.or_else(|| (!self.has_permission(&file, 0o4)).then_some(&*file)).map(Path::to_owned)
    }

    /// As the kernel decides: owner bits for the owner, group bits for members of the group, other bits for the rest.
    fn has_permission(&self, path: &Path, bit: u32) -> bool {
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
    fn primary_and_supplementary_groups_are_read() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbrandgate:x:998:997::/:/usr/sbin/nologin\n";
        let group = "ssl-cert:x:110:postgres,brandgate\nother:x:111:brandgates\nbrandgate:x:997:\n";
        let user = ServiceUser::parse(passwd, group).expect("it exists");
        assert_eq!((user.user_id, user.group_ids), (998, vec![997, 110]));
        assert!(ServiceUser::parse("brandgates:x:1:1::/:", group).is_none());
    }

    #[test]
    fn the_blocking_file_or_directory_is_reported() {
        let directory = std::env::temp_dir().join(format!("brandgate-service-{}", std::process::id()));
        let inner = directory.join("certs");
        std::fs::create_dir_all(&inner).expect("created");
        let key = inner.join("key.pem");
        std::fs::write(&key, "key").expect("written");
        let chmod = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("set");
        chmod(&directory, 0o711);
        let found = std::fs::metadata(&key).expect("it exists");
        let stranger = ServiceUser { user_id: found.uid() + 7, group_ids: vec![found.gid() + 7] };
        let member = ServiceUser { user_id: found.uid() + 7, group_ids: vec![found.gid()] };
        chmod(&inner, 0o750);
        chmod(&key, 0o640);
        assert_eq!(stranger.blocked_by(&key).as_deref(), Some(&*inner.canonicalize().expect("it exists")));
        assert_eq!(member.blocked_by(&key), None);
        chmod(&inner, 0o755);
        chmod(&key, 0o604);
        assert_eq!(stranger.blocked_by(&key), None);
        assert_eq!(
            member.blocked_by(&key),
            Some(key.canonicalize().expect("it exists")),
            "group bits apply to a member"
        );
        std::fs::remove_dir_all(directory).expect("removed");
    }
}
