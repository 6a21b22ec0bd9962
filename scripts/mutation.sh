#!/usr/bin/env bash
# Small changes to the lines that promises rest on, one at a time: the tests around each must notice. By cosmic-ray.
#
#   scripts/mutation.sh                    every module of tests/mutation/targets.py, with the score and the survivors
#   scripts/mutation.sh ladder sweep       these only
#
# The changes are made to a clone of what is committed, which is removed afterwards. The first start installs what
# requirements-mutation.txt locks into .venv-mutation. PYTHON=... chooses the interpreter.
set -euo pipefail
root=$(readlink -f "${BASH_SOURCE[0]}")
root=${root%/scripts/*}
# shellcheck source=scripts/environment.sh
source "$root/scripts/environment.sh"

ensure_environment .venv-mutation requirements-mutation.txt
copy=$(mktemp -d /tmp/deadstop-mutation-XXXXXX)
trap 'rm -rf "$copy"' EXIT
git -c safe.directory="$root" clone --quiet "$root" "$copy/clone"
cd "$copy/clone"
mkdir deadstop_mutation-0.dist-info # tells cosmic-ray of our own operator
printf 'Metadata-Version: 2.1\nName: deadstop-mutation\nVersion: 0\n' >deadstop_mutation-0.dist-info/METADATA
printf '[cosmic_ray.operator_providers]\ndeadstop = tests.mutation.operators:Provider\n' >deadstop_mutation-0.dist-info/entry_points.txt
export PYTHONPATH=$copy/clone PYTHONDONTWRITEBYTECODE=1 PATH=$venv/bin:$PATH # a change within a second of the last must count
nice -n 19 python -m tests.mutation "$@"
