# shellcheck shell=bash
# Sourced by the scripts that need a virtual environment. `ensure_environment FOLDER LOCK_FILE` sets $venv and, unless
# it is current, installs what is locked: with uv, which pip fetches first, or with pip where uv is not available.
#
# The stamp says what an environment was made from. It is empty while an installation runs and is written last, so the
# next start repairs what was interrupted. A folder without a stamp was made by something else and is left alone.

: "${root:?is the checkout, set by the script that sources this file}"
say() { printf 'deadstop: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

interrupted() {
  trap '' INT TERM HUP
  for job in $(jobs -p); do kill -KILL -- "-$job" 2>/dev/null || true; done
  say interrupted; exit 130
}
trap interrupted INT TERM HUP

logged() { set -m; "$@" </dev/null >"$log" 2>&1 & set +m; wait "$!"; } # in a process group, for `interrupted`

ensure_environment() {
  venv=$root/$1 lock_file=$root/$2 stamp=$root/$1/deadstop-stamp python=${PYTHON:-python3}
  unset PYTHONHOME # it would send the environment's interpreter to another installation
  ! is_current || return 0
  "$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "cannot use $python ($("$python" --version 2>/dev/null || echo "not found")): 3.11 or newer is needed;" \
      "run: apt-get install python3 python3-venv, or choose another one with: PYTHON=/path/to/python3 $0"
  "$python" -I -c 'import venv, ensurepip; ensurepip.version()' 2>/dev/null ||
    fail "cannot make a virtual environment: $python has no ensurepip; run: apt-get install python3-venv"
  exec 9<"$root/pyproject.toml" # locked as an open file: the lock ends with the last process of an installation
  flock -n 9 || { say "another start is installing here; waiting for it"; log=/dev/null logged flock 9; }
  is_current || install
  exec 9<&-
}

is_current() { is_usable && [[ $(tail -n +2 "$stamp") == "$(sources)" ]]; }
is_usable() { # finished, in this place and with the right interpreter; perhaps from another lock file
  [[ -s $stamp && -x $venv/bin/python && $(head -n 1 "$stamp") == "$(real_path) in $root" ]] || return 1
  [[ -z ${PYTHON-} || $("$python" -Ic 'import os,sys;print(os.path.realpath(sys.executable))' 2>&1) == "$(real_path)" ]]
}
real_path() { readlink -f "$venv/bin/python"; } # the path to which all links lead, with the version in its name
sources() { cksum "$lock_file" "$root/requirements/uv.txt" "$root/pyproject.toml"; }

install() {
  log=$venv/install.log made_from=$(sources) SECONDS=0
  if is_usable; then
    say "updating $venv"
    : >"$stamp"
  else
    [[ -e $stamp || -z $(ls -A "$venv" 2>/dev/null) ]] || fail "cannot use $venv, made by something else: move it away"
    say "first start: making $venv with $("$python" --version); later starts are instant"
    { mkdir -p "$venv" && : >"$stamp"; } 2>/dev/null || fail "cannot write to $root: start as the user who owns it"
    find "$venv" -mindepth 1 -maxdepth 1 ! -name deadstop-stamp -exec rm -rf {} +
  fi
  mkdir -p "$venv/tmp" # what an interrupted installation leaves there goes with the folder
  logged "$python" -I -m venv "$venv" || give_up
  say "  installing $(grep -c == "$lock_file") locked packages"
  if ! logged with_pip --only-binary=uv --require-hashes -r "$root/requirements/uv.txt" || ! install_all with_uv; then
    say "  without uv, which takes about a minute ($(grep -m 1 -iE '^error' "$log"))"
    install_all with_pip || give_up
  fi
  rm -rf "$venv/tmp"
  printf '%s\n' "$(real_path) in $root" "$made_from" >"$stamp"
  say "ready after $SECONDS s"
}

install_all() {
  logged "$1" --compile --require-hashes -r "$lock_file" &&
    logged "$1" --no-index --no-deps --no-build-isolation --editable "$root"
}

with_pip() { # without the personal settings that would install elsewhere, or ask
  env -u PIP_TARGET -u PIP_PREFIX PIP_USER=0 PIP_NO_INPUT=1 PIP_PROGRESS_BAR=off TMPDIR="$venv/tmp" \
    ${SSL_CERT_FILE:+PIP_CERT="${PIP_CERT:-$SSL_CERT_FILE}"} "$venv/bin/python" -I -m pip install --retries 2 "$@"
}

with_uv() { # with pip's index and the system's certificates; where the user's cache cannot be written, with its own
  local index=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$("$venv/bin/python" -I -m pip config get global.index-url)}}
  local cache=${UV_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-$venv/tmp}/.cache}/uv}
  { mkdir -p "$cache" && [[ -w $cache ]]; } || cache=$venv/tmp/cache
  env TMPDIR="$venv/tmp" UV_CACHE_DIR="$cache" SSL_CERT_FILE="${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" \
    ${index:+UV_DEFAULT_INDEX="$index"} "$venv/bin/uv" pip install --directory "$root" --python "$venv" "$@"
}

give_up() {
  local reason="the package index cannot be reached; check the network, the proxy and SSL_CERT_FILE, then start again"
  grep -qiE 'resolve|connect|unreachable|timed out|ssl|certificate|proxy' "$log" ||
    reason=$(grep -E '^ERROR|^error|Error:' "$log" | tail -n 1) || reason="see its last lines"
  fail "cannot install: $reason (details: $log)"
}
