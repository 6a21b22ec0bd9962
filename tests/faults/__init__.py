"""Faults of the machine, put under the system calls of server, starter and guardian, one after the other.

A fault is one system call that fails with one plausible error the n-th time that a thread makes it, or from then on
(an outage), or takes five seconds (a stall). `strace` does that from outside, to processes that run already: the
product has no seam for it. While the fault is there, the same scene is played every time: one innocent job runs all the
time, one job is cancelled, one ends by itself, one is submitted. What must hold then is in `invariants.py`; in short:
the server lives, or says in one line why it does not; each job's end is true; everything of a cancelled job is dead in
time, as its pidfds show; the next job runs once the fault is over; readyz showed an outage.

    faults.py       which calls fail, with which errors; what is drawn from all of that
    injection.py    strace, attached for the length of a block; what it hit
    scene.py        the jobs, and what becomes of them
    seen.py         what is seen of them
    invariants.py   what must hold
    places.py       where the server runs: levels, users, a container that has next to nothing
    runs.py         many faults on one server, and on a new one after whatever went wrong
    known.py        what the product does not survive yet, each with what is seen; never skipped in silence

    ./run_tests.sh tests/faults                                   the short set, part of the ordinary run
    ./run_tests.sh -m suite tests/faults -s                       the whole; DEADSTOP_ROUNDS and DEADSTOP_SEED bound it
    .venv-tests/bin/python -m tests.faults server:openat:EMFILE:3 one fault, with what is seen of it

Only root may trace a server that hides its memory; for others these tests are skipped.
"""
