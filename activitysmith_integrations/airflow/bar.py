"""The steps of a DAG, and the segments of the bar that shows them. Pure, without Airflow.

A task is one step; a mapped one is ten, which its instances complete together. So the number of steps is known before
anything is expanded, and a bar never shrinks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from activitysmith_integrations.airflow.task_states import OVER, States, Task, Tasks, below, split_key
from activitysmith_integrations.core.runs.segments import MAX_SEGMENTS, fold_steps

MAPPED_STEPS = 10

_PRECISION = 1000
"""Parts that a step is cut into before steps are folded into segments, since instances complete fractions of one."""


@dataclass(frozen=True)
class Bar:
    """The steps of a DAG.

    Args:
        tasks: Its tasks that are steps, in the order of the DAG.
        first_steps: The step that each of them begins with.
        total: How many steps there are.
    """

    tasks: Tasks
    first_steps: Mapping[str, int]
    total: int

    def segments(self, states: States) -> tuple[int, int]:
        """Complete segments, and all of them: what failed, was skipped or will never run counts as complete.

        Args:
            states: The states of the run's task instances.
        """
        instances, over = Counter[str](), Counter[str]()
        for key, state in states.items():
            task_id, _ = split_key(key, self.tasks)
            instances[task_id] += 1
            over[task_id] += state in OVER
        done = sum(Fraction(self._steps(one) * over[one], instances[one]) for one in self.first_steps if over[one])
        if self.total <= MAX_SEGMENTS:
            return math.floor(done), self.total
        return fold_steps(math.floor(done * _PRECISION), self.total * _PRECISION) or (0, 1)

    def completes_segment(self, task_id: str, index: int = 0, instances: int = 1) -> bool:
        """Whether a segment of the bar ends with a task instance.

        Args:
            task_id: Its task.
            index: Which instance it is, from 0.
            instances: How many there are.
        """
        if task_id not in self.first_steps:
            return False
        first, steps = self.first_steps[task_id], self._steps(task_id)
        before, after = (first + Fraction(steps * number, instances) for number in (index, index + 1))
        return self._segments_until(before) < self._segments_until(after)

    def _segments_until(self, step: Fraction) -> int:
        if self.total <= MAX_SEGMENTS:
            return math.floor(step)
        # A little after the segment's end, since instances do not end in their order; the first one says that
        # something is done.
        late = Fraction(self.total, MAX_SEGMENTS * 4)
        return max(1, math.floor((step - late) * MAX_SEGMENTS / self.total)) if step else 0

    def _steps(self, task_id: str) -> int:
        return MAPPED_STEPS if self.tasks[task_id].is_mapped else 1


def counted_tasks(tasks: Tasks, stream_key: str | None = None) -> Tasks:
    """The tasks that are steps: all but those that end the stream or follow the run, and what comes after them.

    Args:
        tasks: The tasks of the DAG.
        stream_key: The stream, as the user wrote it; None for the run's own. A task that ends another one is a step.
    """
    excluded = set[str]()
    for task_id, task in tasks.items():
        if task.role == "follows_run" or ends_stream(task, stream_key):
            excluded |= {task_id, *below(tasks, task_id)}
    return {task_id: task for task_id, task in tasks.items() if task_id not in excluded}


def ends_stream(task: Task, stream_key: str | None) -> bool:
    """Whether a task ends a stream.

    Args:
        task: The task.
        stream_key: The stream, as the user wrote it; None for the run's own.
    """
    return task.role == "ends_stream" and task.stream_key == stream_key


def bar_of(counted: Tasks) -> Bar:
    """The bar of a DAG.

    Args:
        counted: Its tasks that are steps, see :func:`counted_tasks`.
    """
    first_steps, total = dict[str, int](), 0
    for task_id, task in counted.items():
        first_steps[task_id] = total
        total += MAPPED_STEPS if task.is_mapped else 1
    return Bar(counted, first_steps, total)
