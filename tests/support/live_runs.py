"""Runs of a real Airflow that tests want, started together, and what reached the service about each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from support.airflow import Airflow
from support.processes import eventually
from support.sandbox import Sandbox

from activitysmith_integrations.core import stream_key

PATIENCE = 600
"""Seconds after which what a run has to show will not come any more, however busy the machine is."""


@dataclass(frozen=True)
class Wanted:
    """A run that a test wants.

    Args:
        dag_id: The DAG.
        conf: The run's configuration.
        streams: The keys of its streams; the run's own where there are none.
        is_shown: Whether its streams run before it does, since nothing in the DAG starts them.
        fault: What goes wrong with the requests about its stream; see the sandbox's ``POST /sandbox/faults``.
        account: The connection with which it is shown.
    """

    dag_id: str
    conf: Mapping[str, Any] = field(default_factory=dict)
    streams: tuple[str, ...] = ()
    is_shown: bool = False
    fault: Mapping[str, Any] | None = None
    account: str = "activitysmith_default"


class LiveRun:
    """A run.

    Args:
        airflow: Where it runs.
        sandbox: Where it is shown.
        dag_id: Its DAG.
        run_id: Its id.
        streams: The keys of its streams; the run's own where there are none.
    """

    def __init__(self, airflow: Airflow, sandbox: Sandbox, dag_id: str, run_id: str, *streams: str) -> None:
        self.airflow, self.sandbox = airflow, sandbox
        self.dag_id, self.run_id = dag_id, run_id
        self.streams = streams or (stream_key(dag_id, run_id),)
        self.stream = self.streams[0]

    def finished(self) -> str:
        """The state in which it ended; waits for it."""
        return self.airflow.finished(self.dag_id, self.run_id)

    def story(self) -> list[dict[str, Any]]:
        """The requests about its stream, in the order in which the service worked on them."""
        return self.sandbox.story(self.stream)

    def operations(self) -> list[str]:
        """What the service did about its stream, or the status with which it refused to."""
        return [request["operation"] or str(request["status"]) for request in self.story()]

    def steps(self) -> list[int]:
        """The complete steps that were shown, one after the other."""
        states = (request["body"]["content_state"] for request in self.story() if request["status"] == 200)
        return [state["current_step"] for state in states if "current_step" in state]

    def ended(self, times: int = 1) -> list[dict[str, Any]]:
        """The requests that the service carried out, once its stream has ended so often."""
        what = f"the end of {self.dag_id} {self.run_id}"
        eventually(lambda: len(self.sandbox.ends(self.stream)) >= times, what, PATIENCE, every=0.3)
        return [request for request in self.story() if request["status"] == 200]

    def end(self, stream: str | None = None) -> dict[str, Any]:
        """The body of the one end that a stream got; waits for it.

        Args:
            stream: Its key; the run's first one where None.
        """
        key = stream or self.stream
        what = f"the end of {key} of {self.dag_id} {self.run_id}"
        eventually(lambda: self.sandbox.ends(key), what, PATIENCE, every=0.3)
        (body,) = self.sandbox.ends(key)
        return body

    def last_state(self, stream: str | None = None) -> dict[str, Any]:
        """The state that a stream ended with; waits for it."""
        return dict(self.end(stream)["content_state"])


def start(airflow: Airflow, sandbox: Sandbox, wanted: Wanted, run_id: str) -> LiveRun:
    """Start a run.

    Args:
        airflow: Where.
        sandbox: The account that shows it.
        wanted: What the test wants.
        run_id: Its id.
    """
    run = LiveRun(airflow, sandbox, wanted.dag_id, run_id, *wanted.streams)
    if wanted.is_shown:
        sandbox.start(*run.streams)
    if wanted.fault is not None:
        sandbox.inject_fault(stream_key=run.stream, **wanted.fault)
    airflow.trigger(wanted.dag_id, run_id=run_id, **wanted.conf)
    return run
