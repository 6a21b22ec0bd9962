#!/usr/bin/env bash
# Stands for the interpreter and for uv in tests/unit/test_environment.py: writes down what it is asked to do, makes an
# environment of links to itself, and fails or waits as the files beside it say.
set -euo pipefail
self=$(readlink -f "$0")
here=${self%/*}
printf '%s %s\n' "${0##*/}" "$*" >>"$here/calls"
case ${0##*/}:$* in
  *realpath*) echo "$self" ;;
  *version_info*) [[ ! -e $here/old ]] ;;
  *ensurepip.version*) [[ ! -e $here/without-ensurepip ]] ;;
  *:--version) echo "Python 3.9.2" ;;
  *"-m venv "*) mkdir -p "${!#}/bin" && ln -sf "$self" "${!#}/bin/python" ;;
  *"pip config"*) exit 1 ;;
  python:*"pip install"*uv.txt) [[ ! -e $here/without-uv ]] && ln -sf "$self" "${0%/*}/uv" ;;
  python:*"pip install"*) [[ ! -e $here/offline ]] || { echo "connection failed" && exit 1; } ;;
  uv:*)
    [[ ! -e $here/uv-fails ]] || { echo "error: no such index" && exit 2; }
    if [[ -p $here/gate ]]; then
      exec 8<>"$here/ready" # the test reads to its end, which comes when this process is gone
      echo READY >&8
      read -r -t 30 _ <>"$here/gate" || true
      rm "$here/gate"
    fi
    ;;
esac
