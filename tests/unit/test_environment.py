"""The virtual environment that the scripts make on first use: what is installed, repaired and left alone."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
START = f'root=$PWD; source {ROOT}/scripts/environment.sh; ensure_environment .venv requirements/base.txt; echo "$venv"'
SHELL = ["env", "--default-signal=INT", "bash", "-euo", "pipefail", "-c", START]


class Checkout:
    """A folder with locks, and an interpreter beside it that only writes down what it is asked to do."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        self.venv = self.root / ".venv"
        self.stamp = self.venv / "deadstop-stamp"
        (self.root / "requirements").mkdir(parents=True)
        for name in ("pyproject.toml", "requirements/base.txt", "requirements/uv.txt"):
            shutil.copy(ROOT / name, self.root / name)
        self.stub = self.interpreter(folder / "stub")

    def interpreter(self, folder: Path) -> Path:
        folder.mkdir()
        shutil.copy(ROOT / "tests/unit/environment_stub.sh", folder / "python")
        (folder / "python").chmod(0o755)
        (folder / "python3").symlink_to("python")
        return folder

    def begin(self, **extra: str) -> subprocess.Popen[str]:
        env = {"PATH": f"{self.stub}:{os.environ['PATH']}", "HOME": str(self.root.parent), **extra}
        return subprocess.Popen(
            SHELL, cwd=self.root, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def start(self, **extra: str) -> tuple[int, str]:
        """Return the exit code and what a person sees."""
        with self.begin(**extra) as process:
            out, err = process.communicate()
        assert out == (f"{self.venv}\n" if process.returncode == 0 else "")
        return process.returncode, err

    def calls(self) -> list[str]:
        """Return what was installed since the last time, and with what."""
        log = self.stub / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [line for line in lines if " install " in line]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_a_first_start_installs_what_is_locked_and_the_next_ones_nothing(checkout: Checkout) -> None:
    code, err = checkout.start()
    assert (code, err.count("first start"), err.count("ready after")) == (0, 1, 1)
    uv, packages, project = checkout.calls()
    assert uv.startswith("python ")
    assert "--require-hashes -r" in uv
    assert uv.endswith("/requirements/uv.txt")
    assert packages.startswith("uv ")
    assert "--require-hashes -r" in packages
    assert project.startswith("uv ")
    assert "--no-index --no-deps" in project
    assert checkout.start() == (0, "")
    assert checkout.calls() == []


def test_another_lock_file_updates_the_environment_in_place(checkout: Checkout) -> None:
    checkout.start()
    (checkout.venv / "installed-by-hand").touch()
    lock_file = checkout.root / "requirements/base.txt"
    lock_file.write_text(lock_file.read_text() + "# another\n")
    code, err = checkout.start()
    assert (code, err.splitlines()[0]) == (0, f"deadstop: updating {checkout.venv}")
    assert (checkout.venv / "installed-by-hand").exists()
    assert checkout.start() == (0, "")


def test_another_interpreter_is_taken_when_it_is_asked_for(checkout: Checkout, tmp_path: Path) -> None:
    other = str(checkout.interpreter(tmp_path / "other") / "python")
    checkout.start()
    assert "first start" in checkout.start(PYTHON=other)[1]
    assert (checkout.venv / "bin/python").resolve() == Path(other)
    assert checkout.start(PYTHON=other) == (0, "")
    assert checkout.start() == (0, "")  # any interpreter is used when none is requested


def test_a_moved_checkout_is_installed_again(checkout: Checkout, tmp_path: Path) -> None:
    checkout.start()
    checkout.root.rename(tmp_path / "moved")
    checkout.root, checkout.venv = tmp_path / "moved", tmp_path / "moved/.venv"
    assert "first start" in checkout.start()[1]


@pytest.mark.parametrize("made", ["pyvenv.cfg", "notes.txt"])
def test_a_folder_made_by_something_else_is_left_alone(checkout: Checkout, made: str) -> None:
    checkout.venv.mkdir()
    (checkout.venv / made).touch()
    code, err = checkout.start()
    assert (code, err) == (1, f"deadstop: cannot use {checkout.venv}, made by something else: move it away\n")
    assert os.listdir(checkout.venv) == [made]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [("old", "Python 3.9.2): 3.11 or newer is needed"), ("without-ensurepip", "apt-get install python3-venv")],
)
def test_an_interpreter_that_will_not_do_is_one_line(checkout: Checkout, wrong: str, words: str) -> None:
    (checkout.stub / wrong).touch()
    code, err = checkout.start()
    assert (code, err.count("\n")) == (1, 1)
    assert words in err
    assert not checkout.venv.exists()


def test_an_interpreter_that_is_missing_is_one_line(checkout: Checkout) -> None:
    code, err = checkout.start(PYTHON="/nowhere/python3")
    assert (code, err.count("\n")) == (1, 1)
    assert "cannot use /nowhere/python3 (not found)" in err


@pytest.mark.parametrize("wrong", ["without-uv", "uv-fails"])
def test_pip_installs_where_uv_does_not(checkout: Checkout, wrong: str) -> None:
    (checkout.stub / wrong).touch()
    code, err = checkout.start()
    assert (code, err.count("without uv")) == (0, 1)
    packages, project = checkout.calls()[-2:]
    assert packages.startswith("python ")
    assert "--require-hashes" in packages
    assert project.startswith("python ")


def test_a_missing_network_is_reported_and_the_next_start_begins_again(checkout: Checkout) -> None:
    (checkout.stub / "without-uv").touch()
    (checkout.stub / "offline").touch()
    code, err = checkout.start()
    assert code == 1
    assert "cannot install: the package index cannot be reached" in err.splitlines()[-1]
    (checkout.stub / "offline").unlink()
    assert checkout.start()[0] == 0


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_interrupted_start_leaves_no_process_and_is_repaired(checkout: Checkout, name: str) -> None:
    os.mkfifo(checkout.stub / "gate")
    os.mkfifo(checkout.stub / "ready")
    with checkout.begin() as process, (checkout.stub / "ready").open() as ready:
        assert ready.readline() == "READY\n"
        (checkout.venv / "half-made").touch()
        process.send_signal(signal.Signals[name])
        assert ready.read() == ""  # uv is gone
        err = process.communicate()[1]
    assert (process.returncode, err.splitlines()[-1]) == (130, "deadstop: interrupted")
    assert checkout.stamp.read_text() == ""
    (checkout.stub / "gate").unlink()
    assert checkout.start()[0] == 0
    assert not (checkout.venv / "half-made").exists()


def test_of_two_starts_one_waits_for_the_other(checkout: Checkout) -> None:
    os.mkfifo(checkout.stub / "gate")
    os.mkfifo(checkout.stub / "ready")
    with checkout.begin() as first, (checkout.stub / "ready").open() as ready:
        assert ready.readline() == "READY\n"
        with checkout.begin() as second:
            assert second.stderr is not None
            assert second.stderr.readline() == "deadstop: another start is installing here; waiting for it\n"
            (checkout.stub / "gate").write_text("\n")
            assert second.communicate() == (f"{checkout.venv}\n", "")
        first.communicate()
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(checkout.calls()) == 3


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_locks_name_no_registry_and_have_a_hash_for_every_package(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "://" not in text
    entries = [line for line in text.replace("\\\n", " ").splitlines() if not line.startswith("#")]
    assert entries
    assert not [line for line in entries if not re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)]
