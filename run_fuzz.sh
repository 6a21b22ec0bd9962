#!/usr/bin/env bash
# Schemathesis over /openapi.json of a real server: thousands of requests, well-formed and not, alone and in sequences.
#
#   ./run_fuzz.sh                     at least 8,000 of them, some four minutes
#   ./run_fuzz.sh --cases 500         fewer; --seed N chooses others
#
# The first start installs what requirements-fuzz.txt locks into .venv-fuzz. PYTHON=... chooses the interpreter.
set -euo pipefail
root=$(readlink -f "${BASH_SOURCE[0]}")
root=${root%/*}
# shellcheck source=scripts/environment.sh
source "$root/scripts/environment.sh"

ensure_environment .venv-fuzz requirements-fuzz.txt
cd "$root"
export PYTHONPATH=$root
exec "$venv/bin/python" -m tests.fuzz "$@"
