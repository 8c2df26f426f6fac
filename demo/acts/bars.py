"""A progress bar per act, with its rate and the time left."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text


class RateColumn(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """While it runs, the rate of the last moments; afterwards the average."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s".replace(",", " "), style="progress.data.speed")


class Act:
    """The bar of one act."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def begin(self, total: int) -> None:
        """How much there is to do."""
        self._progress.reset(self._task, total=total)

    def advance(self, by: int = 1) -> None:
        """So much more is done."""
        self._progress.advance(self._task, by)


@contextmanager
def act(console: Console, title: str) -> Iterator[Act]:
    """Shows the bar of an act while its block runs; where nobody watches, one line at its end."""
    columns = (
        TextColumn("{task.description:<46}"),
        BarColumn(12),
        MofNCompleteColumn(table_column=Column(justify="right", min_width=11, no_wrap=True)),
        RateColumn(table_column=Column(justify="right", min_width=8, no_wrap=True)),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console) as progress:
        yield Act(progress, progress.add_task(title, total=None))
