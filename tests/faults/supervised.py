"""Runs `souche …`, and again when it ends by itself, as a container engine does (`restart: unless-stopped`).

A Celery worker may end when its broker goes away at the wrong moment (celery#4652, kombu#582).
"""

import signal
import subprocess
import sys
import time

STARTED_AGAIN = "ended by itself and is started again"
_PAUSE_SECONDS = 1.0


def main() -> None:
    """Goes on until it is told to stop; what runs then is killed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        subprocess.run([sys.executable, "-m", "souche", *sys.argv[1:]])
        print(STARTED_AGAIN, flush=True)
        time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    main()
