#!/usr/bin/env bash
# Serves the API; with arguments, runs that command instead, in the caller's directory:
#
#   ./run_api.sh                            python -m supervisor serve
#   ./run_api.sh run shell 'make test'      python -m supervisor run shell 'make test'
#
# The first start installs what requirements/base.txt locks into .venv beside this script. PYTHON=... chooses the interpreter.
set -euo pipefail
root=$(readlink -f "${BASH_SOURCE[0]}")
root=${root%/*}
# shellcheck source=scripts/environment.sh
source "$root/scripts/environment.sh"

ensure_environment .venv requirements/base.txt
[[ $# -gt 0 ]] || set -- serve
command=("$venv/bin/python" -P -m supervisor "$@")
# With SIGINT blocked until the program has its handler, a Ctrl-C while Python itself starts is no traceback.
# It stays pending meanwhile. Only coreutils' env can do that.
if env --block-signal=INT true 2>/dev/null; then
  command=(env --block-signal=INT "${command[@]}")
fi
exec "${command[@]}"
