"""A power cut as lost writes: what a disk still holds that kept only what was synced, from a trace of the system calls.

`strace` writes down every write to a file and every sync, in the order in which they came, with their content. From
that the folder is made again as it would be after a power cut at any moment: SQLite and all above it are the real ones.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

TRACE = ("strace", "-D", "-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", "1000000")
CALLS = "trace=pwrite64,ftruncate,fsync,fdatasync,sendto"
_LINE = re.compile(r"(?P<thread>\d+) +(?P<rest>.*)")
_CALL = re.compile(r"(?P<name>\w+)\(\d+<(?P<path>[^>]*)>(?:, (?P<arguments>.*))?\) += (?P<answer>-?\d+)")


def prefix(trace: Path) -> list[str]:
    """Becomes the program that is traced, with the same process id; `trace` is complete when that program has ended."""
    return [*TRACE, "-e", CALLS, "-o", str(trace)]


@dataclass
class File:
    """A file as the disk has it, with the writes since the last sync, which a power cut loses, kept apart."""

    synced: bytearray = field(default_factory=bytearray)
    unsynced: list[tuple[int, bytes] | int] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.unsynced:
            if isinstance(change, int):
                del self.synced[change:]
                self.synced.extend(bytes(change - len(self.synced)))
            else:
                offset, data = change
                self.synced.extend(bytes(max(0, offset + len(data) - len(self.synced))))
                self.synced[offset : offset + len(data)] = data
        self.unsynced.clear()


def _text(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def _whole_lines(trace: Path) -> Iterable[str]:
    """Calls that another thread's came in between of are put together; each stands where it returned."""
    begun: dict[str, str] = {}
    for line in trace.read_text(encoding="ascii").splitlines():
        found = _LINE.fullmatch(line)
        assert found is not None, line
        thread, rest = found["thread"], found["rest"]
        if rest.endswith(" <unfinished ...>"):
            begun[thread] = rest.removesuffix(" <unfinished ...>")
        elif rest.startswith("<... "):
            yield begun.pop(thread) + rest.partition(" resumed>")[2]
        else:
            yield rest


def cut_at_answer(trace: Path, wanted: bytes, *, syncs: bool = True) -> dict[Path, bytes]:
    """Return the files that a power cut leaves at the moment when a response with `wanted` in it was sent.

    Without `syncs`, treat the program as one that never synced. Raise AssertionError if there was no such response.
    """
    files: dict[Path, File] = defaultdict(File)
    for line in _whole_lines(trace):
        call = _CALL.match(line)
        if call is None or int(call["answer"]) < 0:
            continue
        path, arguments = Path(_text(call["path"]).decode()), call["arguments"]
        match call["name"]:
            case "sendto":
                if wanted in _text(arguments.split('"')[1]):
                    return {path: bytes(file.synced) for path, file in files.items() if file.synced}
            case "pwrite64":
                _, data, numbers = arguments.split('"')
                files[path].unsynced.append((int(numbers.split(", ")[2]), _text(data)))
            case "ftruncate":
                files[path].unsynced.append(int(arguments))
            case _:
                if syncs:
                    files[path].sync()
    raise AssertionError(f"no answer with {wanted!r}")
