"""The demonstration end to end and small: it balances, runs beside itself and leaves nothing behind however it ends."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

SMALL = "0.01"
STARTED = "three web services"
ACTING = "Programme, envelopes"
DYING = "The operator dies for good"
PATIENCE = 240.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc").exists(), reason="finds the processes left behind in /proc"),
    pytest.mark.timeout(2 * PATIENCE),
]


class Demo:
    """A running `souche demo` with a folder for its temporary files, in which all its processes work."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.output = folder / "output"
        environ = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "souche", "demo", "--scale", SMALL, *options],
                env=environ | {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def says(self, words: str) -> bool:
        return words in self.output.read_text(encoding="utf-8")

    def row(self, title: str) -> list[str]:
        """What stands in the last column of every line of a table that begins so."""
        lines = self.output.read_text(encoding="utf-8").splitlines()
        return [line.strip("│ ").split("│")[-1].strip() for line in lines if line.startswith(f"│ {title}")]

    def processes(self) -> dict[int, str]:
        """The programs that work in its folder, by process id."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended meanwhile, or is not ours to look at
                if (path / "cwd").readlink().is_relative_to(self.folder):
                    found[int(path.name)] = (path / "comm").read_text().strip()
        return found

    def files(self) -> list[str]:
        return [path.name for path in self.folder.iterdir() if path.is_dir()]

    def end(self) -> int:
        """Waits for its end and gives the exit code."""
        return self.process.wait(PATIENCE)


@pytest.fixture
def directory() -> Path:
    """A short path that other accounts may pass: PostgreSQL's sockets live below it."""
    path = Path("/tmp") / f"sd-{uuid4().hex[:8]}"  # noqa: S108 (its name is random)
    path.mkdir(mode=0o711)
    return path


@pytest.fixture
def start(directory: Path) -> Iterator[Callable[..., Demo]]:
    demos: list[Demo] = []

    def start_one(*options: str) -> Demo:
        folder = directory / str(len(demos))
        folder.mkdir(mode=0o711)
        demos.append(Demo(folder, *options))
        return demos[-1]

    yield start_one
    for demo in demos:
        demo.process.kill()
        demo.process.wait()
    shutil.rmtree(directory, ignore_errors=True)


def eventually(true: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return False


def test_two_beside_each_other_balance_and_one_stays_up_until_it_is_told_to_stop(start: Callable[..., Demo]) -> None:
    passing, staying = start(), start("--stay")
    assert passing.end() == 0, passing.output.read_text()
    assert eventually(lambda: staying.says("Ctrl-C stops it"))
    assert len(staying.processes()) > 8
    staying.process.send_signal(signal.SIGTERM)
    assert staying.end() == 0
    for demo in (passing, staying):
        assert demo.row("every cent accounted for (souche verify)") == ["yes"]
        assert demo.row("requests that the tills refused because of it") == ["0", "0"]
        assert demo.row("cheques lost, redemptions lost, cents lost") == ["0, 0, 0", "0, 0, 0"]
        assert demo.processes() == {}
        assert demo.files() == []


@pytest.mark.parametrize("moment", ["Starting PostgreSQL", "the schemas", STARTED, ACTING, DYING])
def test_ctrl_c_at_any_moment_leaves_no_process_and_no_file_behind(start: Callable[..., Demo], moment: str) -> None:
    demo = start()
    assert eventually(lambda: demo.says(moment))
    demo.process.send_signal(signal.SIGINT)
    assert demo.end() == 128 + signal.SIGINT
    assert demo.processes() == {}
    assert demo.files() == []


def test_nothing_survives_its_being_killed(start: Callable[..., Demo]) -> None:
    demo = start()
    assert eventually(lambda: demo.says(ACTING))
    demo.process.kill()
    demo.process.wait()
    assert eventually(lambda: demo.processes() == {})


def test_the_end_of_one_process_ends_all_and_is_told(start: Callable[..., Demo]) -> None:
    demo = start()
    assert eventually(lambda: demo.says(ACTING))
    [valkey] = [process for process, name in demo.processes().items() if name.startswith("valkey")]
    os.kill(valkey, signal.SIGKILL)
    assert demo.end() == 1
    assert demo.says("valkey ended by itself")
    assert demo.processes() == {}
