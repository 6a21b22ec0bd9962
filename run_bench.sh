#!/usr/bin/env bash
# One measurement from bench/, on a machine that does nothing else:
#
#   ./run_bench.sh                    lists them
#   ./run_bench.sh hangup             python -m bench.hangup, with its arguments behind it
#
# The first start installs what requirements-bench.txt locks into .venv-bench. Each prints a table, keeps its figures in
# bench/results and draws docs/pictures/NAME.png. PYTHON=... chooses the interpreter.
set -euo pipefail
root=$(readlink -f "${BASH_SOURCE[0]}")
root=${root%/*}
# shellcheck source=scripts/environment.sh
source "$root/scripts/environment.sh"

if [[ $# -eq 0 ]]; then
  for script in "$root"/bench/*.py; do
    name=${script##*/}
    name=${name%.py}
    if [[ $name != __init__ && $name != report ]]; then
      printf '%-10s %s\n' "$name" "$(sed -n '1s/^"""//p' "$script")"
    fi
  done
  exit
fi
ensure_environment .venv-bench requirements-bench.txt
cd "$root"
export PYTHONPATH=$root # the benches' own packages, also in the servers that they start
exec "$venv/bin/python" -m "bench.$1" "${@:2}"
