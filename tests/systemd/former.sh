#!/usr/bin/env bash
# Copies this repository without its newest migration, as the previous version for upgrade tests.
#
#   tests/systemd/former.sh DIRECTORY
#
# The upgrade then has a migration to run, and after a rollback the previous version meets a newer schema.

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
# With another version cargo does not reuse build artifacts of the original.
sed -i '0,/^version = /s/^version = .*/version = "0.0.1"/' "$1/Cargo.toml"
sed -i '/^name = "brandgate"$/{n;s/^version = .*/version = "0.0.1"/}' "$1/Cargo.lock"
if grep -q "${newest##*/}" "$1/src/platform/migrations.rs"; then
  printf 'former.sh: src/platform/migrations.rs still names %s\n' "$newest" >&2
  exit 1
fi
