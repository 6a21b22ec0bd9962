"""An interactive shell in a pseudo-terminal, with background jobs under nohup.

Each job has a process group of its own and survives the hang-up that closing the terminal brings; one has even
left the terminal's session.
"""

from __future__ import annotations

from ptyprocess import PtyProcess

from tests.children.stage import LIFETIME_S, Muster, Stage


def misbehave(stage: Stage) -> None:
    muster = Muster()
    job = f"sh -c '{muster.report}; exec sleep {LIFETIME_S}' >/dev/null 2>&1 </dev/null &\n"
    shell = PtyProcess.spawn(
        ["/bin/bash", "--norc", "--noprofile", "-i"],
        pass_fds=(stage.beacon, muster.fd),
        echo=False,
    )
    for prefix in ("nohup ", "nohup ", "setsid nohup "):
        shell.write(f"{prefix}{job}".encode())
    muster.wait(3)
    stage.ready()
    stage.linger()
