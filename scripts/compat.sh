#!/usr/bin/env bash
# The clients and the proxy that people use, against a real server: curl, Chromium's EventSource, httpx-sse, the npm
# packages of tests/compat/package.json, nginx. Installs what is missing: as root the Debian packages, and the npm ones.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

missing=()
for pair in nginx:nginx-light node:nodejs npm:npm; do
  PATH=$PATH:/usr/sbin command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [[ ${#missing[@]} -gt 0 ]]; then
  if [[ $EUID -ne 0 ]]; then
    echo "compat.sh: cannot run without: ${missing[*]}; run: sudo apt-get install ${missing[*]}" >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -qq --yes --no-install-recommends "${missing[@]}" </dev/null
fi
(cd tests/compat && npm ci --silent --no-fund --no-audit)
exec ./run_tests.sh -m suite tests/compat "$@"
