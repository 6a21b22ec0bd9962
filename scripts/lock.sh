#!/usr/bin/env bash
# Re-makes the lock files from pyproject.toml: name, version and hashes of every package, for every platform.
#
#   scripts/lock.sh              take in what pyproject.toml gained or lost, keep every other version
#   scripts/lock.sh --upgrade    newest versions of everything (any option of `uv pip compile` is passed on)
#
# requirements.txt is what runs, with every extra; the others contain it, so that one install makes one consistent environment.
# setuptools is locked too: the project itself is installed without build isolation, hence without a download.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

if ! command -v uv >/dev/null; then
  echo "lock.sh: cannot lock: uv is not installed; pip install uv" >&2
  exit 1
fi

# Personal settings must not leak into files that everybody installs from: no configuration file, no other index.
for name in ${!UV_@} ${!PIP_@}; do
  unset "$name"
done

lock() {
  local output=$1
  shift
  echo "lock.sh: $output"
  echo 'setuptools>=77' | uv pip compile --quiet --no-config --system-certs --universal --python-version 3.11 \
    --generate-hashes --no-annotate --custom-compile-command scripts/lock.sh --output-file "$output" \
    --extra agent --extra browser --extra native --extra otel pyproject.toml - "$@"
}

lock requirements.txt "$@"
lock requirements-dev.txt --group dev --constraint requirements.txt "$@"
lock requirements-bench.txt --group bench --constraint requirements.txt "$@"
lock requirements-fuzz.txt --group fuzz --constraint requirements.txt "$@"
lock requirements-mutation.txt --group dev --group mutation --constraint requirements-dev.txt "$@"
