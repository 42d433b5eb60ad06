# shellcheck shell=bash
# Boots a real systemd in namespaces of its own. Sourced by run.sh and package.sh.
#
#   repo=…                  the repository, set by the caller; it is /repo inside, read-only
#   machine_alone ARGUMENT… re-executes the script in its own mount namespace, unless it is in one
#   machine_start LOWER     boots systemd on an overlay of the directory LOWER (/ or a bare Debian), with changes in memory
#   machine_run COMMAND…    runs a command inside
#   machine_stop            stops it; also runs when the script exits
#
# It needs root. Nothing inside affects the host: mounts, processes, host name, IPC, network and control groups are its own, and
# writes stay in memory. No process, mount or control group outlives the script. If it is killed, the kernel removes processes and
# mounts; an empty directory stays in TMPDIR, and an empty control group until the next run.

readonly BOOT_TIMEOUT_SECONDS=60 STOP_TIMEOUT_SECONDS=20
readonly MACHINE_POLL_SECONDS=0.05

machine_pid='' machine_directory='' machine_group='' machine_job=''

machine_fail() {
  printf 'machine: %s\n' "$*" >&2
  exit 1
}

# Whether this user and kernel can boot it; prints why not.
machine_is_possible() {
  if ((EUID != 0)); then
    printf 'it needs root, and sudo asks for a password'
    return 1
  fi
  [[ -x /lib/systemd/systemd ]] || {
    printf 'systemd is not installed'
    return 1
  }
  unshare --mount --pid --uts --ipc --cgroup --net --fork true 2>/dev/null || {
    printf 'this kernel or container does not allow namespaces'
    return 1
  }
}

# Mounts of this script vanish with it, even if it is killed.
machine_alone() {
  if [[ ${MACHINE_NAMESPACE_PID:-} != "$$" ]]; then
    MACHINE_NAMESPACE_PID=$$ exec unshare --mount --propagation slave -- "$BASH" "$0" "$@"
  fi
}

# Creates a control group below the one of this shell, so that the root group of systemd inside has no processes.
machine_make_group() {
  local own stale
  mkdir -p -- "$machine_directory/cgroup"
  mount -t cgroup2 none "$machine_directory/cgroup" || machine_fail 'failed to mount cgroup2'
  own=$(sed -n 's/^0:://p' /proc/self/cgroup)
  machine_group=$machine_directory/cgroup${own%/}/brandgate-test
  for stale in "$machine_group".*; do
    if [[ -d $stale && ! -d /proc/${stale##*.} ]]; then machine_remove_group "$stale" || true; fi
  done
  machine_group+=.$$
  mkdir -- "$machine_group" || machine_fail "failed to create $machine_group"
}

# machine_remove_group GROUP: removes a group and its subgroups; fails while they have processes.
machine_remove_group() {
  local group
  while IFS= read -r group; do rmdir -- "$group" 2>/dev/null || true; done < <(find "$1" -depth -type d 2>/dev/null)
  [[ ! -d $1 ]]
}

machine_start() {
  local lower=$1 deadline=$((SECONDS + BOOT_TIMEOUT_SECONDS)) state=''
  machine_directory=$(mktemp -d "${TMPDIR:-/tmp}/brandgate-machine.XXXXXX")
  trap machine_finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap 'exit 129' HUP
  machine_make_group
  # Its control group at the time of unshare becomes the root of the cgroup namespace.
  # shellcheck disable=SC2016
  setpriv --pdeathsig KILL -- "$BASH" -c 'printf "%s\n" $$ >"$1/cgroup.procs" && shift && exec "$@"' machine "$machine_group" \
    unshare --mount --propagation private --pid --uts --ipc --cgroup --net --fork --kill-child=KILL -- \
    "$BASH" "${BASH_SOURCE[0]}" --boot "$lower" "$machine_directory" "${repo:?}" </dev/null >"$machine_directory/console" 2>&1 &
  machine_job=$!
  until machine_pid=$(cat "/proc/$machine_job/task/$machine_job/children" 2>/dev/null) && machine_pid=${machine_pid%% *} &&
    [[ -n $machine_pid && $(cat "/proc/$machine_pid/comm" 2>/dev/null) == systemd ]]; do
    if [[ ! -d /proc/$machine_job ]] || ((SECONDS >= deadline)); then
      cat -- "$machine_directory/console" >&2
      machine_fail 'failed to boot systemd'
    fi
    sleep "$MACHINE_POLL_SECONDS"
  done
  until state=$(machine_run systemctl is-system-running 2>/dev/null) || [[ $state == degraded ]]; do
    [[ -d /proc/$machine_pid ]] || machine_fail "systemd exited unexpectedly: $(tail -n 20 "$machine_directory/console")"
    ((SECONDS < deadline)) || machine_fail "systemd is $state after $BOOT_TIMEOUT_SECONDS s: $(tail -n 20 "$machine_directory/console")"
    sleep "$MACHINE_POLL_SECONDS"
  done
}

machine_run() {
  nsenter -t "$machine_pid" --mount --pid --net --uts --ipc --cgroup --root --wdns=/ -- \
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root TERM=dumb "$@"
}

machine_stop() {
  local deadline=$((SECONDS + STOP_TIMEOUT_SECONDS))
  [[ -n $machine_directory ]] || return 0
  # Killing its process 1 kills all its processes, and with the last one the mounts vanish.
  [[ -z $machine_pid ]] || kill -KILL "$machine_pid" 2>/dev/null || true
  if [[ -n $machine_job ]]; then
    kill -KILL "$machine_job" 2>/dev/null || true
    wait "$machine_job" 2>/dev/null || true
  fi
  if [[ -n $machine_group ]]; then
    until machine_remove_group "$machine_group" || ((SECONDS >= deadline)); do sleep "$MACHINE_POLL_SECONDS"; done
    [[ ! -d $machine_group ]] || printf 'machine: failed to remove the control group %s\n' "$machine_group" >&2
    umount -- "$machine_directory/cgroup"
  fi
  rm -rf --one-file-system -- "$machine_directory"
  machine_directory='' machine_pid='' machine_job='' machine_group=''
}

# shellcheck disable=SC2317 # reached through the trap
machine_finish() {
  local status=$?
  set +e
  trap '' INT TERM HUP PIPE
  trap - EXIT
  if ((status != 0)) && [[ -s $machine_directory/console ]]; then
    printf 'machine: last console output:\n' >&2
    tail -n 15 -- "$machine_directory/console" >&2
  fi
  machine_stop
  exit "$status"
}

# --boot LOWER DIRECTORY REPOSITORY, inside the new namespaces: sets up the root file system and executes systemd.
machine_boot() {
  local lower=$1 directory=$2 repository=$3 root node unit
  mount -t tmpfs -o mode=0755 tmpfs "$directory"
  mkdir -- "$directory"/{upper,work,root}
  root=$directory/root
  mount -t overlay -o "lowerdir=$lower,upperdir=$directory/upper,workdir=$directory/work" overlay "$root"
  mkdir -p -- "$root"/{proc,sys,dev,run,tmp,repo,old}
  mount -t proc proc "$root/proc"
  # Kernel settings belong to the host and are read-only.
  mount --bind "$root/proc/sys" "$root/proc/sys"
  mount -o remount,bind,ro "$root/proc/sys"
  mount -t sysfs -o ro sysfs "$root/sys"
  [[ -d $root/sys/fs/cgroup ]] || machine_fail 'sysfs has no fs/cgroup'
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
  for node in null zero full random urandom tty; do
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
  done
  mkdir -- "$root"/dev/{pts,shm,mqueue}
  mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
  ln -s /proc/self/fd "$root/dev/fd"
  mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
  mount -t tmpfs -o mode=0755 tmpfs "$root/run"
  mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
  mount --bind "$repository" "$root/repo"
  mount -o remount,bind,ro "$root/repo"
  # No file systems to check, a machine id of its own, and no enabled units of the host.
  : >"$root/etc/fstab"
  tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
  rm -rf -- "$root"/etc/systemd/system/*.wants
  for unit in systemd-sysctl.service systemd-modules-load.service systemd-udevd.service systemd-random-seed.service \
    systemd-update-utmp.service dev-hugepages.mount sys-{kernel-debug,kernel-tracing,kernel-config,fs-fuse-connections}.mount; do
    ln -sfn /dev/null "$root/etc/systemd/system/$unit"
  done
  printf '[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n' >"$root/etc/systemd/system/brandgate-test.target"
  mkdir -p -- "$root/etc/systemd/journald.conf.d"
  printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\nForwardToConsole=no\n' >"$root/etc/systemd/journald.conf.d/test.conf"
  ip link set lo up
  printf 'brandgate-test\n' >"$root/etc/hostname"
  cd -- "$root"
  pivot_root . old
  # Files that are open keep the old root until they are closed.
  umount -l /old
  rmdir /old
  # LoadCredential= relies on mount propagation.
  mount --make-rshared /
  exec env -i container=brandgate-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=brandgate-test.target --log-target=journal --show-status=no
}

if [[ ${1:-} == --boot ]]; then
  set -euo pipefail
  shift
  machine_boot "$@"
fi
