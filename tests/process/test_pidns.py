"""Level pidns, seen from the host: what a job sees, what it cannot signal, and what its end proves."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from supervisor.core.jobs.model import State
from supervisor.engine.containment import Level
from tests.support.attempts import guardian_pid, root_pid
from tests.support.core import CALLER, ended, output, reaches, running, says, scenario, submit
from tests.support.namespaces import check_cancelled, told

OWN_NAMESPACE = str(Path("/proc/self/ns/pid").readlink())
LOOK = """
import json, os
print(json.dumps({
    "pids": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
    "pid": os.getpid(), "self": os.readlink("/proc/self"), "uid": os.getuid(), "gid": os.getgid(),
    "net": os.readlink("/proc/self/ns/net"), "owner": os.stat("/etc/passwd").st_uid,
    "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")],
}))
"""
SIGNAL_INIT = """
import os, signal, sys
if os.readlink("/proc/self/ns/pid") == sys.argv[1]:
    sys.exit("this is no namespace of its own")
for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGSEGV):
    os.kill(1, number)
print("SENT", flush=True)
signal.pause()
"""


def python(script: str, *arguments: str) -> dict[str, Any]:
    return {"argv": [sys.executable, "-I", "-S", "-c", script, *arguments], "terminal": False}


def test_a_job_sees_only_its_own_processes_but_shares_files_and_network(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, containment="pidns") as supervisor:
            record = await ended(submit(supervisor, "shell", **python(LOOK)))
            assert record.job.state is State.SUCCEEDED, record.job
            seen = json.loads(output(record))
            assert seen["pids"] == [1, 2, seen["pid"]]
            assert seen["self"] == str(seen["pid"])
            assert (seen["uid"], seen["gid"]) == (os.getuid(), os.getgid())
            assert seen["net"] == str(Path("/proc/self/ns/net").readlink())
            if os.getuid() == 0:
                assert seen["owner"] == 0
            else:
                assert int(seen["capabilities"][0], 16) == 0

    scenario(body)


def test_pids_in_answers_are_the_hosts(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, containment="pidns") as supervisor:
            record = submit(supervisor, "shell", command="echo READY; sleep 60", terminal=False)
            await says(record, "READY")
            events = [json.loads(item.data) for item in record.log.read(0, limit=100) if hasattr(item, "data")]
            (runner,) = [event["pid"] for event in events if event["type"] == "job.running"]
            status = Path(f"/proc/{runner}/status").read_text()
            assert f"NSpid:\t{runner}\t2\n" in status
            rows = await supervisor.processes(record.job.id, CALLER)
            assert [row.pid for row in rows] == [runner, *(child.pid for child in psutil.Process(runner).children())]
            assert (rows[0].name, rows[1].ppid) == ("deadstop-runner", runner)
            await check_cancelled(supervisor, record)

    scenario(body)


@pytest.mark.parametrize("level", [Level.PIDNS, Level.SUBREAPER])
def test_only_without_a_namespace_a_job_can_kill_its_guardian(tmp_path: Path, level: Level) -> None:
    fifo = tmp_path / "guardian"
    os.mkfifo(fifo)

    async def body() -> None:
        async with running(tmp_path / "state", containment=level) as supervisor:
            command = f'read pid <{fifo}; kill -9 "$pid"; echo "kill said $?"; sleep 60'
            record = submit(supervisor, "shell", command=command)
            await reaches(record, lambda job: job.state is State.RUNNING)
            with told(fifo, str(guardian_pid(record))):
                if level is Level.SUBREAPER:
                    await ended(record, 3)
                    assert record.job.error is not None
                    assert record.job.error.kind == "guardian"
                    return
                await says(record, "kill said 1")
            assert guardian_pid(record)
            assert psutil.Process(guardian_pid(record)).status() == psutil.STATUS_SLEEPING
            await check_cancelled(supervisor, record)

    scenario(body)


def test_a_job_cannot_end_or_stop_its_init(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path, containment="pidns") as supervisor:
            record = submit(supervisor, "shell", **python(SIGNAL_INIT, OWN_NAMESPACE))
            await says(record, "SENT")
            assert root_pid(record)
            assert psutil.Process(root_pid(record)).status() == psutil.STATUS_SLEEPING
            await check_cancelled(supervisor, record)

    scenario(body)


def mounts_at(pid: int | str, *targets: Path) -> list[str]:
    """Where something is mounted at one of these folders or below, as this process sees it.

    Other programs of the machine, other tests among them, mount and unmount elsewhere meanwhile.
    """
    lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    points = [line.split(" ")[4] for line in lines]
    return [point for point in points if any(Path(point).is_relative_to(target) for target in targets)]


def test_the_hosts_mounts_stay_as_they_are(tmp_path: Path) -> None:
    proc = Path("/proc")

    async def body() -> None:
        before = mounts_at("self", proc, tmp_path)
        async with running(tmp_path, containment="pidns") as supervisor:
            target = tmp_path / "mounted"
            target.mkdir()
            # Only root may mount. For other users, only the namespace's /proc could become visible outside.
            command = f"mount -t tmpfs inside {target} && touch {target}/inside; echo READY; sleep 60"
            record = submit(supervisor, "shell", command=command)
            await says(record, "READY")
            assert mounts_at("self", proc, tmp_path) == before
            assert list(target.iterdir()) == []
            assert root_pid(record)
            inside = mounts_at(root_pid(record), proc, tmp_path)
            assert inside.count(str(proc)) == before.count(str(proc)) + 1
            assert (str(target) in inside) is (os.getuid() == 0)
            await check_cancelled(supervisor, record)

    scenario(body)
