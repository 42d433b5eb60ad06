#!/usr/bin/env bash
# former.sh: a copy of this repository as it was before its newest migration, for a package to upgrade from.
#
#   tests/systemd/former.sh DIRECTORY
#
# Called by `make deb-test`. The copy knows nothing of the newest file of migrations/, so an upgrade has something to bring up to date, and a
# roll back meets a schema that is newer than it knows.

set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."
(($# == 1)) || {
  sed -n '4s/^# *//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

mkdir -p -- "$1"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$1"
newest=$(printf '%s\n' migrations/0*.sql | tail -n 1)
rm -- "$1/$newest"
sed -i "\\|include_str!(\"../../$newest\")|d" "$1/src/platform/migrations.rs"
# Another version is another package to cargo, which would otherwise take what it built of the one for the other.
sed -i '0,/^version = /s/^version = .*/version = "0.0.1"/' "$1/Cargo.toml"
sed -i '/^name = "brandgate"$/{n;s/^version = .*/version = "0.0.1"/}' "$1/Cargo.lock"
if grep -q "${newest##*/}" "$1/src/platform/migrations.rs"; then
  printf 'former.sh: src/platform/migrations.rs still names %s\n' "$newest" >&2
  exit 1
fi
