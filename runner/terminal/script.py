"""Run a script that is too long for one argument: the kernel accepts 128 KiB (MAX_ARG_STRLEN, execve(2))."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

MAX_WORD_BYTES = 32 * 4096 - 1
_BASH = "/bin/bash"


def shell_words(command: str) -> list[str]:
    """Return the argument list that has a shell run `command`: bash, or sh where there is none."""
    return [_BASH if Path(_BASH).exists() else "/bin/sh", "-c", command]


@contextlib.contextmanager
def without_long_script(argv: Sequence[str]) -> Iterator[tuple[Sequence[str], tuple[int, ...]]]:
    """Have the shell read a script that is too long from a descriptor.

    Yield the arguments to execute and the descriptors to pass on, which are open during the block. `$0`, stdin, line
    numbers and exit codes are those of `bash -c`, and the commands in the script do not see the descriptor. Any other
    command is left as it is.
    """
    if list(argv[:2]) != shell_words("")[:2] or len(argv) < 3 or len(os.fsencode(argv[2])) <= MAX_WORD_BYTES:
        yield argv, ()
        return
    fd = os.memfd_create("script")
    try:
        _write_all(fd, os.fsencode(argv[2]))
        text = f"$(</dev/fd/{fd})" if argv[0] == _BASH else f"$(cat /dev/fd/{fd})"
        # Redirections of bash may have many digits; sh takes one.
        closed = f" {fd}<&-" if argv[0] == _BASH or fd < 10 else ""
        yield [*argv[:2], f'eval "{text}"{closed}', *argv[3:]], (fd,)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
