"""Every benchmark that is run by itself still runs, at a size at which it says nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = {
    "audit": ["--rounds", "1", "--each", "2"],
    "booklets": ["--booklets", "3"],
    "reconcile": ["--lines", "100"],
    "reports": ["--cheques", "230"],
    "switches": ["--cheques", "60", "--from", "docaposte", "--to", "regie", "--mode", "failure"],
}


def test_each_benchmark_is_tried() -> None:
    runs = 'if __name__ == "__main__"'
    found = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if runs in path.read_text(encoding="utf-8")}
    assert found - {"__main__"} == set(SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_runs(name: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", *SMALL[name]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 1
