"""Child processes that never outlive us: started in their own session, signalled by the kernel if we die."""

import contextlib
import ctypes
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    account: str | None = None,
    on_parent_death: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start `command` in its own session, output appended to `log`, as `account` if one is given (needs root).

    On Linux the child gets `on_parent_death` when the *thread* that called this ends, so call it from the main one.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            [os.fspath(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,  # Ctrl-C in the terminal is for us alone: we stop the children in order
            preexec_fn=_die_with_parent(on_parent_death),
            user=account,
            group=None if account is None else pwd.getpwnam(account).pw_gid,
            extra_groups=None if account is None else [],
        )


def stop(process: subprocess.Popen[bytes], with_signal: signal.Signals = signal.SIGTERM, *, timeout: float = 10) -> int:
    """Signal the process, kill its whole session after `timeout` seconds, reap it and return its exit code."""
    if process.poll() is None:
        process.send_signal(with_signal)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            kill(process)
    return process.wait()


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the process with all of its session, and reap it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def killed_on_error(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kills the process if the block raises, be it for Ctrl-C."""
    try:
        yield
    except BaseException:
        kill(process)
        raise


def _die_with_parent(with_signal: signal.Signals) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)  # loaded before the fork: nothing may import after it
    parent = os.getpid()

    def in_child() -> None:  # subprocess calls it after the change of user, which would clear the setting
        libc.prctl(PR_SET_PDEATHSIG, int(with_signal), 0, 0, 0)
        if os.getppid() != parent:  # it died in between
            os.kill(os.getpid(), signal.SIGKILL)

    return in_child
