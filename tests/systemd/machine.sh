# shellcheck shell=bash
# machine.sh: a real systemd in namespaces of its own, for run.sh and package.sh, which source this.
#
#   repo=…                  the repository, set by the caller; it is /repo inside, read-only
#   machine_alone ARGUMENT… runs the script anew in a mount namespace of its own, unless it is in one
#   machine_start LOWER     boots systemd on an overlay of the directory LOWER (/ or a bare Debian); changes are in memory
#   machine_run COMMAND…    runs a command inside
#   machine_stop            ends all of it; also at the exit of the script, however that comes
#
# It needs root, and may mount. Nothing that happens inside reaches the machine outside: mounts, processes, host name, IPC,
# network and control groups are its own, and what is written stays in memory. No process, mount
# or control group may stay when the script ends. If the script is killed outright the kernel ends processes and mounts; an empty
# directory stays in TMPDIR, and an empty control group until the next run.

readonly BOOT_DEADLINE_SECONDS=60 STOP_DEADLINE_SECONDS=20
readonly MACHINE_POLL_SECONDS=0.05

machine_pid='' machine_place='' machine_group='' machine_job=''

machine_fail() {
  printf 'machine: %s\n' "$*" >&2
  exit 1
}

# Whether this user and kernel can do it; else says why not.
machine_is_possible() {
  if ((EUID != 0)); then
    printf 'it needs root, and sudo asks for a password here'
    return 1
  fi
  [[ -x /lib/systemd/systemd ]] || {
    printf 'systemd is not installed'
    return 1
  }
  unshare --mount --pid --uts --ipc --cgroup --net --fork true 2>/dev/null || {
    printf 'this kernel or container lets root make no namespaces'
    return 1
  }
}

# What this script mounts goes with it, even when it is killed.
machine_alone() {
  if [[ ${MACHINE_ALONE:-} != "$$" ]]; then
    MACHINE_ALONE=$$ exec unshare --mount --propagation slave -- "$BASH" "$0" "$@"
  fi
}

# A control group of its own under the one of this shell, so that systemd inside finds a root without processes.
machine_make_group() {
  local own stale
  mkdir -p -- "$machine_place/cgroup"
  mount -t cgroup2 none "$machine_place/cgroup" || machine_fail 'cannot mount cgroup2'
  own=$(sed -n 's/^0:://p' /proc/self/cgroup)
  machine_group=$machine_place/cgroup${own%/}/brandgate-test
  for stale in "$machine_group".*; do
    if [[ -d $stale && ! -d /proc/${stale##*.} ]]; then machine_remove_group "$stale" || true; fi
  done
  machine_group+=.$$
  mkdir -- "$machine_group" || machine_fail "cannot make $machine_group"
}

# machine_remove_group GROUP: with all below it; fails while a process is in one.
machine_remove_group() {
  local group
  while IFS= read -r group; do rmdir -- "$group" 2>/dev/null || true; done < <(find "$1" -depth -type d 2>/dev/null)
  [[ ! -d $1 ]]
}

machine_start() {
  local lower=$1 deadline=$((SECONDS + BOOT_DEADLINE_SECONDS)) state=''
  machine_place=$(mktemp -d "${TMPDIR:-/tmp}/brandgate-machine.XXXXXX")
  trap machine_finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap 'exit 129' HUP
  machine_make_group
  # In its control group before it unshares: that becomes the root of the new cgroup namespace.
  # shellcheck disable=SC2016
  setpriv --pdeathsig KILL -- "$BASH" -c 'printf "%s\n" $$ >"$1/cgroup.procs" && shift && exec "$@"' machine "$machine_group" \
    unshare --mount --propagation private --pid --uts --ipc --cgroup --net --fork --kill-child=KILL -- \
    "$BASH" "${BASH_SOURCE[0]}" --boot "$lower" "$machine_place" "${repo:?}" </dev/null >"$machine_place/console" 2>&1 &
  machine_job=$!
  until machine_pid=$(cat "/proc/$machine_job/task/$machine_job/children" 2>/dev/null) && machine_pid=${machine_pid%% *} &&
    [[ -n $machine_pid && $(cat "/proc/$machine_pid/comm" 2>/dev/null) == systemd ]]; do
    if [[ ! -d /proc/$machine_job ]] || ((SECONDS >= deadline)); then
      cat -- "$machine_place/console" >&2
      machine_fail 'systemd did not come up'
    fi
    sleep "$MACHINE_POLL_SECONDS"
  done
  until state=$(machine_run systemctl is-system-running 2>/dev/null) || [[ $state == degraded ]]; do
    [[ -d /proc/$machine_pid ]] || machine_fail "systemd ended by itself: $(tail -n 20 "$machine_place/console")"
    ((SECONDS < deadline)) || machine_fail "systemd is $state after $BOOT_DEADLINE_SECONDS s: $(tail -n 20 "$machine_place/console")"
    sleep "$MACHINE_POLL_SECONDS"
  done
}

machine_run() {
  nsenter -t "$machine_pid" --mount --pid --net --uts --ipc --cgroup --root --wdns=/ -- \
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root TERM=dumb "$@"
}

machine_stop() {
  local deadline=$((SECONDS + STOP_DEADLINE_SECONDS))
  [[ -n $machine_place ]] || return 0
  # The end of its process 1 is the end of all its processes, and the mounts go with the last of them.
  [[ -z $machine_pid ]] || kill -KILL "$machine_pid" 2>/dev/null || true
  if [[ -n $machine_job ]]; then
    kill -KILL "$machine_job" 2>/dev/null || true
    wait "$machine_job" 2>/dev/null || true
  fi
  if [[ -n $machine_group ]]; then
    until machine_remove_group "$machine_group" || ((SECONDS >= deadline)); do sleep "$MACHINE_POLL_SECONDS"; done
    [[ ! -d $machine_group ]] || printf 'machine: the control group %s stays\n' "$machine_group" >&2
    umount -- "$machine_place/cgroup"
  fi
  rm -rf --one-file-system -- "$machine_place"
  machine_place='' machine_pid='' machine_job='' machine_group=''
}

# shellcheck disable=SC2317 # reached through the trap
machine_finish() {
  local status=$?
  set +e
  trap '' INT TERM HUP PIPE
  trap - EXIT
  if ((status != 0)) && [[ -s $machine_place/console ]]; then
    printf 'machine: what systemd said last:\n' >&2
    tail -n 15 -- "$machine_place/console" >&2
  fi
  machine_stop
  exit "$status"
}

# --boot LOWER PLACE REPOSITORY, inside the new namespaces: builds the root and becomes systemd.
machine_boot() {
  local lower=$1 place=$2 repository=$3 root node unit
  mount -t tmpfs -o mode=0755 tmpfs "$place"
  mkdir -- "$place"/{upper,work,root}
  root=$place/root
  mount -t overlay -o "lowerdir=$lower,upperdir=$place/upper,workdir=$place/work" overlay "$root"
  mkdir -p -- "$root"/{proc,sys,dev,run,tmp,repo,old}
  mount -t proc proc "$root/proc"
  # The kernel's settings are the outer machine's: nobody in here may change one.
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
  # A machine of its own: no name, no file systems to check, and nothing of the outer machine's that would start with it.
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
  # The old root is let go of; what is open stays until it is closed.
  umount -l /old
  rmdir /old
  # LoadCredential= hands its directories over by propagation.
  mount --make-rshared /
  exec env -i container=brandgate-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=brandgate-test.target --log-target=journal --show-status=no
}

if [[ ${1:-} == --boot ]]; then
  set -euo pipefail
  shift
  machine_boot "$@"
fi
