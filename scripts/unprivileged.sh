#!/usr/bin/env bash
# The zoo of misbehaving children as an ordinary user who may do nothing else: no capability, no way to regain one.
#
#   scripts/unprivileged.sh                    every sin at every level that this user has, as a marked suite
#   scripts/unprivileged.sh PYTEST-ARGUMENTS   these tests instead
#
# Root starts it. The tests run as $AS (default: nobody) on a clone of what is committed, in a folder of their own with an
# environment of their own, both removed afterwards. PYTHON=... chooses an interpreter that this user can read.
set -euo pipefail
root=$(readlink -f "${BASH_SOURCE[0]}")
root=${root%/scripts/*}
user=${AS:-nobody}

fail() {
  echo "unprivileged.sh: $*" >&2
  exit 1
}

[[ $EUID -eq 0 ]] || fail "cannot become $user: start this as root; as an ordinary user ./run_tests.sh is enough"
id "$user" >/dev/null 2>&1 || fail "cannot become $user: there is no such user; choose one with AS=..."

copy=$(mktemp -d /tmp/deadstop-XXXXXX)
trap 'rm -rf "$copy"' EXIT
git -c safe.directory="$root" clone --quiet "$root" "$copy/clone"
mkdir "$copy/home"
chown -R "$user:" "$copy"

as_user=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups --no-new-privs --inh-caps=-all
  --bounding-set=-all env -i "HOME=$copy/home" "LANG=${LANG:-C.UTF-8}" PATH=/usr/local/bin:/usr/bin:/bin)
for python in ${PYTHON:-python3 /usr/bin/python3}; do
  if "${as_user[@]}" "$python" -I -c pass 2>/dev/null; then
    as_user+=("PYTHON=$python")
    break
  fi
done
[[ ${as_user[-1]} == PYTHON=* ]] || fail "cannot find a Python that $user can run; choose one with PYTHON=..."

[[ $# -gt 0 ]] || set -- -m suite tests/process/test_sins_suite.py -rA
cd "$copy/clone"
"${as_user[@]}" ./run_tests.sh "$@"
