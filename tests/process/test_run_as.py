"""RUN_AS: the server is root and its jobs are not. The kernel shows a job's user, its files and what it can reach."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.client import EventStream
from tests.support.observer import Watched
from tests.support.server import RunningServer, running_server, serve_command, server_environment

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run jobs as somebody else")

NOBODY = pwd.getpwnam("nobody")

TASKS = """
from multiprocessing.connection import Listener

from runner import Context, task

@task
def keep(ctx: Context) -> dict:
    with ctx.open_atomic(ctx.out / "kept.txt") as file:
        file.write("kept")
    return {}

@task
def listen(ctx: Context) -> str:
    with Listener() as listener:  # in the folder that multiprocessing's managers use, too
        return listener.address
"""


@pytest.fixture(scope="module")
def state_dir() -> Iterator[Path]:
    """Return a state folder whose parent every user may enter, unlike pytest's own folders."""
    folder = Path(tempfile.mkdtemp(prefix="run-as-"))
    folder.chmod(0o755)
    (folder / "atomic_tasks.py").write_text(TASKS)
    yield folder / "state"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(state_dir: Path) -> Iterator[RunningServer]:
    env = {"DEADSTOP_RUN_AS": "nobody", "DEADSTOP_TASKS": "atomic_tasks"}
    path = f"{state_dir.parent}:{Path(__file__).parents[2]}"
    with running_server(state_dir, env=env | {"PYTHONPATH": path}) as running:
        yield running


def run(server: RunningServer, command: str, **more: Any) -> dict[str, Any]:
    """Run a shell job to its end, and return it with its output in "text"."""
    body = {"task": "shell", "input": {"command": command, "terminal": False} | more}
    with EventStream(server.url, server.token, body=body) as stream:
        events = list(stream.rest(20))
    job = server.job(events[0].data["job_id"])
    return job | {"text": "".join(event.data["text"] for event in events if event.type == "job.output")}


def test_who_a_job_is(server: RunningServer) -> None:
    job = run(server, "id -u; id -g; id -G; echo $USER $LOGNAME; grep -E '^(Uid|Gid|Cap|NoNew)' /proc/self/status")
    uid, gid, groups, names, *status = job["text"].splitlines()
    assert (int(uid), int(gid)) == (NOBODY.pw_uid, NOBODY.pw_gid)
    assert set(map(int, groups.split())) == set(os.getgrouplist("nobody", NOBODY.pw_gid))
    assert names == "nobody nobody"
    found = dict(line.split(":", 1) for line in status)
    assert found["Uid"].split() == [str(NOBODY.pw_uid)] * 4
    assert found["Gid"].split() == [str(NOBODY.pw_gid)] * 4
    assert found["NoNewPrivs"].strip() == "1"
    assert all(int(found[name], 16) == 0 for name in ("CapPrm", "CapEff", "CapAmb"))


def test_its_workspace_is_its_own_and_out_is_published(server: RunningServer) -> None:
    job = run(server, "stat -c '%U %a %n' . .home .tmp .run out; touch $TMPDIR/a $HOME/b; echo hello > out/hello.txt")
    assert job["state"] == "succeeded", job
    assert [line.split()[0] for line in job["text"].splitlines()] == ["nobody"] * 5
    files = server.http.get(f"/jobs/{job['id']}/files").json()["files"]
    assert [file["path"] for file in files] == ["hello.txt"]
    assert server.http.get(f"/jobs/{job['id']}/files/hello.txt").text == "hello\n"


def test_multiprocessing_listens_in_a_folder_of_its_own(server: RunningServer) -> None:
    with EventStream(server.url, server.token, body={"task": "listen", "input": {}}) as stream:
        last = list(stream.rest(20))[-1]
    assert "/pymp-" in last.data.get("result", ""), last.data.get("error")


@pytest.mark.parametrize("whole", [False, True], ids=["a file", "all of out"])
def test_what_it_moves_into_out_but_cannot_read_is_not_served(server: RunningServer, whole: bool) -> None:
    # A folder that every user may write to, with a file in it that root alone may read.
    shared = server.state_dir.parent / f"box-{whole}" / "shared"
    shared.mkdir(parents=True)
    for folder in (shared, shared.parent):
        folder.chmod(0o777)
    (shared / "secret").write_text("secret")
    (shared / "secret").chmod(0o600)
    move = f"rmdir out && mv {shared} out" if whole else f"mv {shared}/secret out/"
    job = run(server, f"echo mine > own; {move} && echo MOVED; ls -l out; cp own out/")
    assert "MOVED" in job["text"], job
    files = [file["path"] for file in server.http.get(f"/jobs/{job['id']}/files").json()["files"]]
    assert files == ([] if whole else ["own"])
    assert server.http.get(f"/jobs/{job['id']}/files/secret").status_code == 404


@pytest.mark.parametrize("terminal", [True, False])
def test_standard_output_can_be_opened_by_name(server: RunningServer, terminal: bool) -> None:
    assert "by name" in run(server, "echo by name > /dev/stdout", terminal=terminal)["text"]


def test_what_it_cannot_reach(server: RunningServer) -> None:
    state = server.state_dir
    guardian = "$(awk '/^PPid/ {print $2}' /proc/$PPID/status)"
    job = run(
        server,
        f"ls {state}; ls {state}/workspaces; cat {state}/token; find {state} -maxdepth 1 -readable; "
        f"for p in {server.pid} {guardian}; do kill -9 $p; kill -STOP $p; cat /proc/$p/environ; ls /proc/$p/fd; done; "
        "echo still here",
    )
    assert job["state"] == "succeeded", job
    text = job["text"]
    assert server.token not in text
    assert text.count("Permission denied") >= 3 + 4, text
    assert text.count("not permitted") == 4, text
    assert "still here\n" in text
    assert stat.S_IMODE(state.stat().st_mode) == 0o711
    for entry in state.iterdir():
        if entry.name != "workspaces":
            assert stat.S_IMODE(entry.stat().st_mode) & 0o077 == 0, entry


def test_without_it_the_token_is_open_to_jobs(tmp_path: Path) -> None:
    # The control: a job that runs as the server's own user can do what is refused above.
    with running_server(tmp_path / "state") as plain:
        command = f"cat {plain.state_dir}/token; ls {plain.state_dir}/workspaces; kill -0 {plain.pid} && echo SIGNALLED"
        job = run(plain, command)
    assert plain.token in job["text"]
    assert job["id"] in job["text"]
    assert "SIGNALLED" in job["text"]


def test_an_atomic_file_of_a_python_task(server: RunningServer) -> None:
    deadline = time.monotonic() + 20
    while (reply := server.http.post("/jobs", json={"task": "keep", "input": {}})).status_code == 503:
        assert time.monotonic() < deadline, reply.text
    job = server.wait_finished(reply.json()["id"], 20)
    assert job["state"] == "succeeded", job
    assert server.http.get(f"/jobs/{job['id']}/files/kept.txt").text == "kept"


def test_a_cancel_ends_all_of_it_with_a_proof(server: RunningServer) -> None:
    command = "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo UP $$; while :; do sleep 1; done' & wait"
    body = {"task": "shell", "input": {"command": command, "terminal": False}}
    with EventStream(server.url, server.token, body=body) as stream:
        stream.until_output("UP")
        job_id = stream.events[0].data["job_id"]
        processes = server.http.get(f"/jobs/{job_id}/processes").json()["processes"]
        with Watched(process["pid"] for process in processes) as watched:
            assert {psutil.Process(handle.pid).uids().real for handle in watched.handles} == {NOBODY.pw_uid}
            assert len(watched.handles) >= 3
            server.http.post(f"/jobs/{job_id}/cancel", json={})
            assert list(stream.rest(10))[-1].type == "job.cancelled"
            assert not watched.left()
    cancellation = server.job(job_id)["cancellation"]
    assert cancellation["proof"] in {"echild", "cgroup_empty"}
    assert cancellation["within_budget"]
    assert cancellation["workspace_removed"]


def test_the_runner_dies_with_its_guardian(server: RunningServer) -> None:
    # A change of credentials takes the kernel's notice of a parent's death away; it has to be asked for again.
    body = {"task": "shell", "input": {"command": "echo UP; sleep 60", "terminal": False}}
    with EventStream(server.url, server.token, body=body) as stream:
        stream.until_output("UP")
        job_id = stream.events[0].data["job_id"]
        processes = server.http.get(f"/jobs/{job_id}/processes").json()["processes"]
        with Watched(process["pid"] for process in processes) as watched:
            psutil.Process(processes[0]["ppid"]).kill()
            assert list(stream.rest(10))[-1].type == "job.failed"
            assert not watched.left()
    assert server.job(job_id)["error"]["kind"] == "guardian"


# --- refusals


def start(state_dir: Path, user: str) -> subprocess.CompletedProcess[str]:
    env = server_environment(state_dir.parent, DEADSTOP_RUN_AS=user)
    return subprocess.run(serve_command(state_dir), env=env, capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize(
    ("user", "says"),
    [
        ("no-such-user", "there is no user no-such-user"),
        ("root", "root is root or in"),
    ],
)
def test_a_user_that_will_not_do(tmp_path: Path, user: str, says: str) -> None:
    done = start(tmp_path / "state", user)
    assert done.returncode == 1
    assert done.stderr.startswith(f"deadstop: cannot use DEADSTOP_RUN_AS: {says}")
    assert done.stderr.count("\n") == 1


def test_a_state_folder_that_the_user_cannot_get_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    done = start(tmp_path / "state", "nobody")
    assert done.returncode == 1
    assert f"nobody cannot get to {tmp_path}/state/workspaces" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_server_that_is_not_root_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    from supervisor.errors import StartupError
    from supervisor.node.run_as import RunAs

    monkeypatch.setattr(os, "geteuid", lambda: NOBODY.pw_uid)
    with pytest.raises(StartupError, match="only root can run jobs as daemon"):
        RunAs.find("daemon")
