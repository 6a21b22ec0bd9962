# shellcheck shell=bash
# Sourced by run_api.sh, run_tests.sh, run_bench.sh and run_fuzz.sh: the virtual environment beside them, made on first use.
#
#   ensure_environment FOLDER LOCK_FILE
#
# sets $venv, and returns within milliseconds when that environment is as it should be. The stamp in it says what it was
# made from: interpreter, this checkout's path, lock file and pyproject.toml. The stamp is written last, so whatever
# interrupts an installation, the next start begins it again. An empty stamp marks a folder as ours to remove; a
# virtual environment without one belongs to somebody else.

: "${root:?is the checkout, set by the script that sources this file}"

say() { printf 'deadstop: %s\n' "$*" >&2; }

fail() {
  say "$*"
  exit 1
}

interrupted() {
  trap '' INT TERM HUP
  local job
  for job in $(jobs -p); do
    kill -KILL -- "-$job" 2>/dev/null || true
  done
  clear_line
  say interrupted
  exit 130
}
trap interrupted INT TERM HUP

# Runs in a process group of its own, where Ctrl-C does not reach it, so that `interrupted` can end all of it.
in_background() {
  set -m
  "$@" </dev/null &
  set +m
}

clear_line() { [[ ! -t 2 ]] || printf '\r\033[K' >&2; }

ensure_environment() {
  venv=$root/$1
  lock_file=$root/$2
  stamp=$venv/deadstop-stamp
  unset PYTHONHOME # it would send the environment's interpreter to another installation
  if is_current; then
    return
  fi
  find_python
  wait_for_others
  is_current || build
  exec 9<&-
}

is_current() { is_usable && [[ $made_from == "$(contents)"$'\n' ]]; }

# Whether the environment was finished, here and with the right interpreter; perhaps from another lock file.
is_usable() {
  [[ -s $stamp && -x $venv/bin/python ]] || return 1
  local made_in made_with
  { read -r made_in && read -r made_with && IFS= read -r -d '' made_from; } <"$stamp" || [[ -n $made_from ]] || return 1
  [[ $made_in == "$(interpreter) in $root" ]] || return 1
  # Without PYTHON any interpreter that was good enough at first will do: `python3` may differ from shell to shell.
  [[ -z ${PYTHON:-} || $made_with == "$(wanted_python)" ]]
}

# The interpreter's real path has its version in it, so that an upgrade of the system is noticed.
interpreter() { readlink -f "$venv/bin/python"; }

contents() { cksum "$lock_file" "$root/pyproject.toml"; }

wanted_python() { readlink -f "$(command -v "${PYTHON:-python3}")"; }

find_python() {
  python=${PYTHON:-python3}
  command -v "$python" >/dev/null ||
    fail "cannot find $python, and Python 3.11 or newer is needed; run: apt-get install python3 python3-venv"
  python_version=$("$python" -I -c 'import platform; print(platform.python_version())' 2>/dev/null) ||
    fail "cannot run $python, and Python 3.11 or newer is needed; choose one with: PYTHON=/path/to/python3 $0"
  "$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "cannot use $python: it is Python $python_version, and 3.11 or newer is needed; choose one with:" \
      "PYTHON=/path/to/python3 $0"
}

wait_for_others() {
  # An open file and not a lock file: nothing is left behind, and an installation that outlives its script keeps it.
  exec 9<"$root/pyproject.toml"
  command -v flock >/dev/null || return 0
  if ! flock --nonblock 9; then
    say "another start is installing here; waiting for it"
    in_background flock 9
    wait "$!"
  fi
}

build() {
  SECONDS=0
  if is_usable; then
    say "updating $venv to the lock file"
    : >"$stamp"
    mkdir -p "$venv/tmp"
  else
    say "first start: making $venv with Python $python_version (half a minute to a minute; later starts are instant)"
    clear_folder
    : >"$stamp"
    mkdir "$venv/tmp"
    step "virtual environment" make_venv || explain_failure
  fi
  install_locked
  step "deadstop itself" install_project || explain_failure
  rm -rf "$venv/tmp"
  printf '%s\n' "$(interpreter) in $root" "$(wanted_python)" "$(contents)" >"$stamp.new"
  mv "$stamp.new" "$stamp"
  say "ready after $SECONDS s"
}

clear_folder() {
  if [[ -e $venv/pyvenv.cfg && ! -e $stamp ]]; then
    fail "cannot use $venv: it was made by something else; move it away, then start again"
  fi
  { rm -rf "$venv" && mkdir "$venv"; } 2>/dev/null || fail "cannot write to $root: start as the user who owns it"
}

install_locked() {
  local title
  title="$(grep -c == "$lock_file") locked packages"
  if command -v uv >/dev/null; then
    step "$title, by uv" with_uv && return
    say "uv could not install them; trying pip"
  fi
  "$python" -I -c 'import ensurepip; ensurepip.version()' 2>/dev/null ||
    fail "cannot install: this Python has no pip for virtual environments; run: apt-get install python3-venv"
  step "$title, by pip" with_pip || explain_failure
}

make_venv() { "$python" -I -m venv --without-pip "$venv"; }

with_uv() {
  # Somebody behind a company proxy has its certificate in the system's bundle, not in uv's own.
  local bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
  if [[ -r $bundle ]]; then
    export SSL_CERT_FILE=$bundle
  fi
  uv_here --compile-bytecode --require-hashes -r "$lock_file"
}

with_pip() {
  "$venv/bin/python" -I -m pip --version || "$venv/bin/python" -I -m ensurepip || return
  pip_here --retries 2 --require-hashes -r "$lock_file"
}

# Editable, and with the path in a plain .pth file, so that the checkout is what runs, in child processes as well.
install_project() {
  if "$venv/bin/python" -I -m pip --version; then
    pip_here --no-index --no-deps --no-build-isolation --editable "$root"
  else
    uv_here --offline --no-deps --no-build-isolation --editable "$root"
  fi || return
  "$venv/bin/python" -I -m compileall -q "$root/supervisor" "$root/runner"
}

# Temporary files go inside, so that what an interrupted installation leaves goes with the folder.
uv_here() { TMPDIR=$venv/tmp uv pip install --python "$venv/bin/python" --no-progress "$@"; }

pip_here() {
  # Without the personal settings that would install somewhere else, or ask.
  env -u PIP_TARGET -u PIP_PREFIX PIP_USER=0 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 TMPDIR="$venv/tmp" \
    "$venv/bin/python" -I -m pip install --progress-bar off --no-warn-script-location "$@"
}

# step TITLE COMMAND...: runs it with its output in $log, and shows that it is alive.
step() {
  local title=$1 begun=$SECONDS status=0
  shift
  log=$venv/install.log
  in_background "$@" >"$log" 2>&1
  local pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    show_progress "$title" "$((SECONDS - begun))"
    sleep 0.1
  done
  wait "$pid" || status=$?
  clear_line
  [[ $status -ne 0 ]] || say "  $title: done in $((SECONDS - begun)) s"
  return "$status"
}

show_progress() {
  local title=$1 elapsed=$2 collected
  if [[ -t 2 ]]; then
    collected=$(grep -c '^Collecting' "$log" || true)
    printf '\r\033[Kdeadstop:   %s: %s s%s' "$title" "$elapsed" "${collected:+, $collected found}" >&2
  elif ((elapsed > 0 && elapsed % 15 == 0 && elapsed != ${last_shown:-0})); then
    last_shown=$elapsed
    say "  $title: still at it after $elapsed s"
  fi
}

explain_failure() {
  if grep -qiE 'resolution|resolve|connection|unreachable|timed out|dns|ssl|certificate|proxy' "$log"; then
    fail "cannot install: the package index cannot be reached; check the network or proxy, then start again" \
      "(details: $log)"
  fi
  local reason
  reason=$(grep -E '^ERROR|^error|Error:' "$log" | tail -n 1) || true # no such line
  fail "cannot install: ${reason:-see the last lines of $log} (details: $log)"
}
