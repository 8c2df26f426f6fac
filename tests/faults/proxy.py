"""The network between the operator bridge and an operator: it can be cut, and it can be slow."""

import contextlib
import socket
import threading
import time


class Proxy:
    """Carries bytes between its own port and another one of this machine."""

    def __init__(self, target_port: int) -> None:
        self._delay_seconds = 0.0
        self._target = ("127.0.0.1", target_port)
        self._cut = False
        self._open: set[socket.socket] = set()
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def cut(self) -> None:
        """Ends every connection, and every new one at once."""
        self._cut = True
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def delay(self, seconds: float = 3.0) -> None:
        """Carries everything so much later."""
        self._delay_seconds = seconds

    def mend(self) -> None:
        """Carries again, without delay."""
        self._cut, self._delay_seconds = False, 0.0

    def close(self) -> None:
        """Listens no longer."""
        self.cut()
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            if self._cut:
                return
            with socket.create_connection(self._target, timeout=5) as operator:
                operator.settimeout(None)
                self._open |= {client, operator}
                back = threading.Thread(target=self._carry, args=(operator, client), daemon=True)
                back.start()
                self._carry(client, operator)
                back.join()
                self._open -= {client, operator}

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                time.sleep(self._delay_seconds)
                sink.sendall(chunk)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
