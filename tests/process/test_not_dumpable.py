"""Whether another process of the same user may read the memory and the environment of server, guardian and init.

Asked by another process of the same user, without a capability: root reads everything.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.support.levels import why_no_namespace
from tests.support.server import running_server

WITHOUT_CAPABILITIES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
"""For the server as well: of a process with more capabilities than the reader's nothing can be read in any case."""
LEVELS = ["subreaper"]
if os.geteuid() != 0 and why_no_namespace() is None:  # as root it takes capabilities
    LEVELS.append("pidns")


def refused(pid: int) -> set[str]:
    """Return which files of a process cannot be read. Raise AssertionError if a reader fails in another way."""
    found = set()
    for name in ("environ", "maps", "mem"):
        # `mem` has no page at 0: it is only opened, and that is where the kernel asks whether one may.
        command = [*WITHOUT_CAPABILITIES, "dd", f"if=/proc/{pid}/{name}", "of=/dev/null", "count=0"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            assert "Permission denied" in done.stderr, done.stderr
            found.add(name)
    return found


@pytest.mark.parametrize("level", LEVELS)
def test_memory_and_environment_are_not_for_other_processes_of_the_user(tmp_path: Path, level: str) -> None:
    with running_server(tmp_path / "state", "--containment", level, prefix=WITHOUT_CAPABILITIES) as server:
        body = {"task": "shell", "input": {"command": "echo READY; exec sleep 60", "terminal": False}}
        with server.stream(body) as stream:
            runner = psutil.Process(stream.until_type("job.running").data["pid"])
            stream.until_output("READY")
            guards = [one for one in runner.parents() if one.name() in {"deadstop-guard", "deadstop-init"}]
            assert [one.name() for one in guards][::-1] == ["deadstop-guard", "deadstop-init"][: len(guards)]
            assert len(guards) == (2 if level == "pidns" else 1)
            assert {one.name(): refused(one.pid) for one in guards} == {
                one.name(): {"environ", "maps", "mem"} for one in guards
            }
            assert refused(server.pid) == {"environ", "maps", "mem"}
            # The control: this reader may read what does not hide, a job's own processes above all.
            (sleep,) = runner.children()
            assert (refused(runner.pid), refused(sleep.pid)) == (set(), set())
            # Those that wait for a job are not looked at by any of it, and hide all the same.
            waiting = [
                one for one in psutil.Process(server.pid).children(recursive=True) if one.name() == guards[-1].name()
            ]
            assert len(waiting) > 1
            assert {pid for one in waiting if refused(pid := one.pid) != {"environ", "maps", "mem"}} == set()
