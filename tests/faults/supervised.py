"""Runs `souche …`, and again when it ends by itself, as a container engine does (`restart: unless-stopped`).

So a plan goes on and can say what else came of it; that a worker ended is a finding.
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
