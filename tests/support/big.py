"""Jobs that are slow to end because they have much memory, many processes or many files. Each ignores SIGTERM."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.children.stage import LIFETIME_S
from tests.support.mass import is_of_a_set
from tests.support.observer import Beacon, Watched, descendants, describe
from tests.support.server import RunningServer

GIB = 3
PROCESSES = 500
FILES = 10_000
IN_PLACE_BOUND_S = 60.0
LOOK_S = 5.0
_HOLD = f"exec sleep {LIFETIME_S * 3}"

BIG = {
    f"{GIB} GiB of memory": (
        # Every page is written to, so that it is there.
        f'exec python3 -c "import time; held = b\\"x\\" * ({GIB} << 30); print(\\"READY\\", flush=True); '
        f'time.sleep({LIFETIME_S * 3})"'
    ),
    f"{PROCESSES} processes": (
        f"i=0; while [ $i -lt {PROCESSES} ]; do sleep {LIFETIME_S * 3} & i=$((i+1)); done; echo READY; {_HOLD}"
    ),
    f"{FILES} temporary files": (
        f'mkdir -p "$TMPDIR/a"; cd "$TMPDIR/a" && seq {FILES} | xargs touch; ls | wc -l; echo READY; {_HOLD}'
    ),
}


@dataclass(frozen=True, slots=True)
class Ended:
    """`gone_ms` is seen from outside, from the hang-up to the last process; `in_place` says that it was as big."""

    gone_ms: float
    left: str
    workspace_left: bool
    job: dict[str, Any]
    rss_mib: int
    processes: int
    files: int


def hang_up_on(server: RunningServer, what: str, folder: Path) -> Ended:
    """Start the job, wait until it has its full size, hang up, and return how it ended."""
    idle = set(descendants(server.pid))
    with Beacon(folder / "big.fifo") as beacon:
        command = f"trap '' TERM; exec 9>'{beacon.path}'; {BIG[what]}"
        body = {"task": "shell", "input": {"command": command, "terminal": False}}
        with server.stream(body, bound_s=IN_PLACE_BOUND_S) as stream:
            job_id = stream.until_type("job.running").data["job_id"]
            stream.until_output("READY", IN_PLACE_BOUND_S)
            workspace = server.state_dir / "workspaces" / job_id
            files = sum(1 for path in workspace.rglob("*") if path.is_file())
            # New idle sets have been started since the first look; they are not the job's.
            pids = [pid for pid in descendants(server.pid) if pid not in idle]
            rss_mib = sum(_rss_mib(pid) for pid in pids)
            with Watched(pids) as tree:
                hung_up = stream.hang_up()
                gone = beacon.wait_eof(hung_up + LOOK_S)
                gone_ms = (time.monotonic() - hung_up) * 1000
                workspace_left = workspace.exists() and not _taken_soon(workspace, hung_up + 2.0)
                left = [one for one in tree.wait_gone(hung_up + LOOK_S) if not is_of_a_set(one)]
        job = server.wait_finished(job_id)
    return Ended(
        gone_ms if gone else float("inf"),
        describe(left) if left else "",
        workspace_left,
        job,
        rss_mib,
        len(pids),
        files,
    )


def _taken_soon(workspace: Path, deadline: float) -> bool:
    while workspace.exists():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.005)
    return True


def _rss_mib(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(fields[1]) * 4096 // 2**20
