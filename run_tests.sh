#!/usr/bin/env bash
# Format, lint, types, scripts, tests: the same for people and for CI.
#
#   ./run_tests.sh                 everything
#   ./run_tests.sh ARGUMENTS       only pytest, with these arguments
#
# The first start installs what requirements/dev.txt locks into .venv-tests, and as root the Debian packages that are
# missing. PYTHON=... chooses the interpreter.
set -euo pipefail
root=$(readlink -f "${BASH_SOURCE[0]}")
root=${root%/*}
# shellcheck source=scripts/environment.sh
source "$root/scripts/environment.sh"

# command:package
needed=(chromium:chromium curl:curl ip:iproute2 ps:procps setsid:util-linux shellcheck:shellcheck strace:strace)

ensure_packages() {
  local pair missing=()
  for pair in "${needed[@]}"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
  done
  "${PYTHON:-python3}" -I -c 'import ensurepip; ensurepip.version()' 2>/dev/null || missing+=(python3-venv)
  [[ ${#missing[@]} -gt 0 ]] || return 0
  if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
    fail "cannot test without: ${missing[*]}; run: sudo apt-get install ${missing[*]}"
  fi
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  local install=(apt-get install -qq --yes --no-install-recommends "${missing[@]}")
  "${install[@]}" </dev/null >/dev/null 2>&1 || { apt-get update -qq </dev/null && "${install[@]}" </dev/null >&2; } ||
    fail "cannot install packages; run: apt-get update && apt-get install ${missing[*]}"
}

check() {
  local title=$1
  shift
  printf '== %s\n' "$title"
  "$@" || fail "$title failed"
}

PATH=$PATH:/usr/sbin:/sbin # where Debian keeps `ip` out of an ordinary user's sight
ensure_packages
ensure_environment .venv-tests requirements/dev.txt
cd "$root"
unset PYTHONDONTWRITEBYTECODE # hundreds of servers start: none of them should compile everything again
export PYTHONPATH=$root # the tests' own packages; `tests.children` also in the servers that they start
bin=$venv/bin

if [[ $# -eq 0 ]]; then
  check "ruff format" "$bin/ruff" format --check .
  check "ruff check" "$bin/ruff" check .
  check "mypy" "$bin/mypy" -p supervisor -p runner -p deadstop -p tests
  check "shellcheck" shellcheck run_*.sh scripts/* tests/unit/*.sh .ci/run
  pytest=(--numprocesses 3 --dist loadfile) # most tests wait for the ladder most of the time
else
  pytest=("$@")
fi
check "pytest" "$bin/python" -m pytest "${pytest[@]}"
