"""What a run of ``dag.test()`` started, in a process that exits before the run is over."""

import subprocess
import sys

from support.sandbox import KEY, Sandbox

EXITING = """
import sys
from datetime import UTC, datetime
from activitysmith_integrations.airflow.interrupted_dag_test import end_at_exit, forget
from activitysmith_integrations.core import ActivitySmithClient
from activitysmith_integrations.core.runs.outcome import RunOutcome
base_url, api_key = sys.argv[1:]
for key in ("ended", "interrupted", "interrupted"):
    run = RunOutcome(engine="airflow", pipeline="nightly", run=key, result="succeeded", started_at=datetime.now(UTC))
    end_at_exit(key, run, "Nightly", ActivitySmithClient(api_key, base_url=base_url))
forget("ended")
forget("unknown")
raise KeyboardInterrupt
"""


def test_what_was_started_and_not_ended_is_cancelled_when_the_process_exits(sandbox: Sandbox) -> None:
    sandbox.start("ended", "interrupted")
    command = [sys.executable, "-c", EXITING, sandbox.base_url, KEY]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")
    assert sandbox.living() == ["ended"]
    (end,) = sandbox.ends("interrupted")
    assert (end["metadata"]["result"], end["content_state"]["title"]) == ("cancelled", "Nightly")
