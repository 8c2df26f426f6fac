"""Ctrl-C and SIGTERM at any moment, without losing a process that is just starting."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

_A_MOMENT = 0.02
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal to stop arrived; `exit_code` is what a shell expects then."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number


class Interruptions:
    """Turns the first signal into Interrupted: at once, or at the end of a `held` block. Later ones are ignored."""

    def __init__(self) -> None:
        self._held = 0
        self._pending: int | None = None
        self._raised = False
        self._other_hook = sys.unraisablehook

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Handles the signals within the block; call it from the main thread."""
        before = {number: signal.signal(number, self._handle) for number in SIGNALS if not _is_for_background(number)}
        self._other_hook, sys.unraisablehook = sys.unraisablehook, self._raise_again
        try:
            yield
        finally:
            sys.unraisablehook = self._other_hook
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A block that no signal cuts in two: to start a process and to note that it was started."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self._raise_pending()

    def ignore(self) -> None:
        """From now on nothing interrupts: what was started is being stopped."""
        self._raised = True

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._pending is None:
            self._pending = number
        self._raise_pending()

    def _raise_again(self, lost: "sys.UnraisableHookArgs") -> None:
        """Where it was raised nobody could catch it, a finalizer say: it is raised once more, a moment later."""
        if isinstance(lost.exc_value, Interrupted):
            self._raised = False
            threading.Timer(_A_MOMENT, signal.pthread_kill, (threading.main_thread().ident, self._pending)).start()
        else:
            self._other_hook(lost)

    def _raise_pending(self) -> None:
        if self._pending is not None and not self._held and not self._raised:
            self._raised = True
            raise Interrupted(self._pending)


def _is_for_background(number: signal.Signals) -> bool:
    """`nohup` has us ignore that the terminal was closed, and we go on doing so."""
    return number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN
