"""The bars of BarProgress, by rich. A module of its own: rich is imported when there is a bar to show.

A bar is one line at every width of the terminal from 50 columns on, and its columns keep their places. If there are
more bars than lines, those that move are shown.
"""

from __future__ import annotations

from rich.console import Console, Group
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import RenderableType


def _column(width: int) -> Column:
    return Column(no_wrap=True, min_width=width, max_width=width, overflow="crop")


class _Size(ProgressColumn):
    """The bytes that were copied, of how many."""

    def __init__(self, size: Callable[[int], str]) -> None:
        super().__init__(Column(no_wrap=True, min_width=13, justify="right"))
        self._size = size

    def render(self, task: Task) -> Text:
        """Both numbers; the first only while it grows."""
        total = self._size(int(task.total or 0))
        return Text(total if task.finished or not task.started else f"{self._size(int(task.completed))}/{total}")


class _Outcome(ProgressColumn):
    """What has become of a blob; until then, its speed."""

    def __init__(self, size: Callable[[int], str]) -> None:
        super().__init__(_column(9))
        self._size = size

    def render(self, task: Task) -> Text:
        """The outcome, or the speed once it is known."""
        return Text(task.fields["outcome"] or (f"{self._size(int(task.speed))}/s" if task.speed else ""))


class Bars(Progress):
    """The display on standard error. ``size`` writes a number of bytes."""

    def __init__(self, size: Callable[[int], str]) -> None:
        self._over = False
        self._terminal = Console(stderr=True, highlight=False)
        bar = BarColumn(style="bright_black", complete_style="cyan", finished_style="green")
        super().__init__(TextColumn("{task.description}", table_column=_column(19)), bar, _Size(size), _Outcome(size),
                         console=self._terminal)

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars; as long as they move, only as many as fit, and then the number of the others."""
        tasks, room = self.tasks, self._terminal.height - 2
        if self._over or len(tasks) <= room:
            yield self.make_tasks_table(tasks)
            return
        moving = [task for task in tasks if task.started and not task.finished]
        waiting = [task for task in tasks if not task.started]
        shown = [*moving, *waiting][:max(room, 1)]
        done = sum(task.finished for task in tasks)
        yield Group(self.make_tasks_table(shown), Text(f"{done} of {len(tasks)} done", no_wrap=True))

    def stop(self) -> None:
        """Leave all bars on the terminal."""
        self._over = True
        super().stop()
