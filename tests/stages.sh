#!/usr/bin/env bash
# All kinds of tests, stage by stage, with the time of each. `stages.sh full` repeats the faults.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "${1:-}" = full ] && export TANDEM_FULL=1

names=() times=()
stage() { # NAME COMMAND...
  local name=$1 begun=$SECONDS
  shift
  printf '\n=== %s\n' "$name"
  "$@"
  names+=("$name") times+=($((SECONDS - begun)))
}
summary() {
  local status=$?
  # The bed is taken down whatever happened; a bed that was not brought up is no error.
  [ -x "$testbed" ] && "$testbed" down || true
  printf '\n%-52s %6s\n' stage seconds
  for i in "${!names[@]}"; do printf '%-52s %6d\n' "${names[$i]}" "${times[$i]}"; done
  printf '%-52s %6d\n' all "$SECONDS"
  exit "$status"
}
# `--workspace` everywhere: another selection of packages would build the dependencies again with
# other features.
target=${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-gnu
testbed=$target/debug/testbed
trap summary EXIT

stage "the operator's binary (release)" cargo build --release --bin tandem
stage "tests are built" cargo test --workspace --no-run
stage "tests with database servers are built" cargo test --workspace --test database --no-run
stage "end-to-end tests are built" cargo test --workspace --test e2e --no-run
[ -z "${TANDEM_FULL:-}" ] ||
  stage "tests with NFS clients are built" cargo test --workspace --test nfs --no-run
stage "Kubernetes and images (built once, then cached)" "$testbed" up
stage "units, properties, golden, fake API, agent, bed" cargo test --workspace
stage "PostgreSQL and MariaDB" cargo test --workspace --test database
stage "agents on PostgreSQL and on FUSE" \
  cargo test --workspace --test agent -- --ignored database:: network:: preflight:: split_brain:: switchover::
stage "end to end" cargo test --workspace --test e2e
# Always the same ones: a failure is a change's, not a draw's. Every kind of fault is among the first 18.
stage "random faults for three minutes" "$target/debug/soak" --seconds 180 --seed 158533
[ -z "${TANDEM_FULL:-}" ] ||
  stage "NFS clients in emulated machines" cargo test --workspace --test nfs -- --test-threads 4 --nocapture
