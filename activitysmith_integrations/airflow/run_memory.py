"""What the processes of a run tell each other, as XComs.

A run without faults that has the default key writes none, but that of a task of its own which ends the stream.
Workers share no memory. An XCom of the run's first task is a place where all of them look; it can be read on workers
and in the dag-processor, and written on workers (Airflow 3.1 to 3.3; elsewhere Airflow may hang on it).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from activitysmith_integrations.airflow.task_states import state_key

if TYPE_CHECKING:
    from activitysmith_integrations.airflow.run import Run
    from activitysmith_integrations.airflow.task_states import Task

START_KEY = "activitysmith_start"
FAILURE_KEY = "activitysmith_failure"
CLEARED_KEY = "activitysmith_cleared"
NAME_KEY = "activitysmith_name"
ENDED_KEY = "activitysmith_ended"
STREAM_KEY = "activitysmith_stream_key"

_AGREEMENT_SECONDS = 0.3
_CLAIM_LASTS = 60.0


@dataclass(frozen=True)
class FailedStart:
    """A start that was refused or lost.

    Args:
        at: When, in seconds since the epoch.
        may_run: Whether it may have arrived all the same, since no answer came.
    """

    at: float
    may_run: bool

    def is_recent(self, now: float) -> bool:
        """Whether it is too early for another attempt: the account's requests are for the runs that are shown."""
        from activitysmith_integrations.core.runs.budget import SECONDS_BETWEEN_STARTS

        return 0 <= now - self.at < SECONDS_BETWEEN_STARTS


class RunMemory:
    """What is remembered about a run.

    Args:
        run: The run, as one callback sees it.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def failed_start(self) -> FailedStart | None:
        """The start of the stream to which the tasks report that failed last, if none was delivered since."""
        found = self._read(START_KEY)
        if not isinstance(found, dict) or not isinstance(found.get("at"), (int, float)):
            return None
        return FailedStart(float(found["at"]), bool(found.get("may_run")))

    def remember_start(self, failed: FailedStart | None) -> None:
        """Remember a start that failed, or with None that one was delivered after all."""
        self._write(START_KEY, None if failed is None else {"at": failed.at, "may_run": failed.may_run})

    def claim_failure(self) -> bool | None:
        """Whether this task instance reports the failure; of several that fail at once, the last one to claim it does.

        Returns:
            None where the task instances have no place to agree.
        """
        now = time.time()
        own = {"instance": self._run.instance.key, "at": now}
        try:
            held = self._read_or_raise(FAILURE_KEY)
            if isinstance(held, dict) and 0 <= now - float(held.get("at", 0.0)) < _CLAIM_LASTS:
                return bool(held.get("instance") == own["instance"])
            self._write_or_raise(FAILURE_KEY, own)
            time.sleep(_AGREEMENT_SECONDS)
            return bool(self._read_or_raise(FAILURE_KEY) == own)
        except Exception:
            return None

    def claim_cleared_start(self, clear_number: int) -> bool:
        """Whether the task instance whose callback this is starts the stream of a run that was cleared.

        The first one to ask does, or several that ask at once: what they send is the same.

        Args:
            clear_number: How often the run was cleared.
        """
        try:
            if self._read_or_raise(CLEARED_KEY) == clear_number:
                return False
            self._write_or_raise(CLEARED_KEY, clear_number)
        except Exception:
            return False
        return True

    def note_failure(self) -> None:
        """Tell the others that the failure is shown already."""
        self._write(FAILURE_KEY, {"instance": self._run.instance.key, "at": time.time()})

    def remember_key(self, written: str, rendered: str) -> None:
        """Remember what a stream key that is a template rendered to.

        Args:
            written: The template.
            rendered: The key.
        """
        self._write(STREAM_KEY, {"written": written, "rendered": rendered})

    def key(self, written: str) -> str | None:
        """What a stream key that is a template rendered to on a worker; None where nobody remembered it.

        Args:
            written: The template.
        """
        found = self._read(STREAM_KEY)
        is_known = isinstance(found, dict) and found.get("written") == written
        return str(found["rendered"]) if is_known else None

    def note_name(self) -> None:
        """Keep the name that people gave a mapped instance which failed: only its own process knows it."""
        run = self._run
        if run.map_name is not None:
            with suppress(Exception):
                self._set(NAME_KEY, {"instance": run.instance.key, "name": run.map_name}, self._own_place)

    def name_of(self, task_id: str, map_index: int) -> str | None:
        """The name of a mapped instance that failed, None where it has none or nobody kept it.

        Args:
            task_id: Its task.
            map_index: Which instance it is.
        """
        try:
            names = {one["instance"]: str(one["name"]) for one in self._get(NAME_KEY, self._place_of(task_id))}
            return names.get(state_key(task_id, map_index))
        except Exception:
            return None

    def note_end(self) -> None:
        """Keep that this task instance has ended the stream: once the run is cleared its state may be from before."""
        with suppress(Exception):
            self._set(ENDED_KEY, self._run.began_at, self._own_place)

    def was_ended_before_clear(self, task_ids: Iterable[str]) -> bool:
        """Whether what some tasks ended was the stream of the run before it was cleared, and not since.

        Args:
            task_ids: The tasks that end the stream.
        """
        if self._run.clear_number == 0:
            return False
        try:
            notes = (self._get(ENDED_KEY, self._place_of(task_id)) for task_id in task_ids)
            return not any(self._run.began_at in of_task for of_task in notes)
        except Exception:  # better shown twice than never
            return True

    def _read(self, key: str) -> Any:
        try:
            return self._read_or_raise(key)
        except Exception:
            return None

    def _write(self, key: str, value: Any) -> None:
        with suppress(Exception):  # what is not remembered costs a request at most
            self._write_or_raise(key, value)

    def _read_or_raise(self, key: str) -> Any:
        found = self._get(key, self._place_of(self._first_task.task_id))
        return found[0] if found else None

    def _write_or_raise(self, key: str, value: Any) -> None:
        first = self._first_task
        self._set(key, value, {**self._place_of(first.task_id), "map_index": 0 if first.is_mapped else -1})

    @staticmethod
    def _get(key: str, place: Mapping[str, Any]) -> Sequence[Any]:
        from airflow.sdk.bases.xcom import BaseXCom

        # Asked for one alone, Airflow logs an error where there is none.
        return BaseXCom.get_all(key=key, **place) or ()

    def _set(self, key: str, value: Any, place: Mapping[str, Any]) -> None:
        from airflow.sdk.bases.xcom import BaseXCom

        if not self._run.is_on_worker:
            raise RuntimeError("Airflow takes XComs from workers only")
        BaseXCom.set(key=key, value=value, **place)

    def _place_of(self, task_id: str) -> dict[str, Any]:
        return {"dag_id": self._run.dag_id, "run_id": self._run.run_id, "task_id": task_id}

    @property
    def _own_place(self) -> dict[str, Any]:
        instance = self._run.instance
        return {**self._place_of(instance.task_id), "map_index": instance.map_index}

    @property
    def _first_task(self) -> Task:
        """A task that is there for as long as the run is."""
        tasks = self._run.tasks
        return next((task for task in tasks.values() if not task.is_mapped), None) or next(iter(tasks.values()))
