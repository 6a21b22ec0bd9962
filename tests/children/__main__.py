"""`python -m tests.children SIN --beacon FIFO`: one sin as a program, for shell jobs and for the controls."""

from __future__ import annotations

import argparse
import signal
import sys
from types import FrameType

from tests.children import SINS, commit
from tests.children.stage import Stage


def _leave(_number: int, _frame: FrameType | None) -> None:
    # What web servers and schedulers install: unwind, so that `finally` blocks run.
    sys.exit(143)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.children")
    parser.add_argument("sin", choices=sorted(SINS))
    parser.add_argument("--beacon", required=True, help="a FIFO that somebody reads")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    commit(arguments.sin, Stage(arguments.beacon))


if __name__ == "__main__":
    main()
