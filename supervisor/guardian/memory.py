"""The memory of a process, as exactly as /proc shows it."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.guardian import procfs
from supervisor.guardian.procfs import Unreadable

_MEMFD = "/memfd:"
_BLOCK_BYTES = 512


@dataclass(frozen=True, slots=True)
class Share:
    """Resident memory with each shared page divided among its users. `shmem_bytes` is the part that is shared
    memory.
    """

    pss_bytes: int
    shmem_bytes: int


def share_of(pid: int) -> Share | None:
    """Return None if it is unknown: the process has ended, has no address space or is another user's, or there is no
    such file.

    The kernel walks the page tables of the process for it, which takes some milliseconds for gigabytes.
    """
    try:
        text = procfs.read(f"{pid}/smaps_rollup")
    except Unreadable:
        return None
    found = dict(line.split(b":", 1) for line in (text or b"").splitlines() if b":" in line)
    if b"Pss" not in found:
        return None
    return Share(_kib(found[b"Pss"]), _kib(found.get(b"Pss_Shmem", b"0 kB")))


def _kib(value: bytes) -> int:
    return int(value.split()[0]) * 1024


def memfds_of(pid: int) -> dict[tuple[int, int], int]:
    """Return the memfds that a process holds by descriptor, as (device, inode) → bytes. Unreadable ones are left out.

    Their pages count as no process's resident memory until they are mapped: see memfd_create(2).
    """
    found: dict[tuple[int, int], int] = {}
    try:
        names = procfs.names(f"{pid}/fd") or []
    except Unreadable:
        return found
    for name in names:
        try:
            if procfs.link(f"{pid}/fd/{name}").startswith(_MEMFD):
                stat = procfs.stat(f"{pid}/fd/{name}")
                found[stat.st_dev, stat.st_ino] = stat.st_blocks * _BLOCK_BYTES
        except OSError:
            continue  # closed in between
    return found
