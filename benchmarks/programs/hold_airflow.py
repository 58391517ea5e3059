"""How long Airflow's side is held: the notifiers as Airflow calls them, and one try of the operator."""

import json
import os
import sys
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier
from airflow.sdk import DAG
from contenders import KEY
from holding import measure

from activitysmith_integrations.airflow.notifications import ActivitySmithEndStreamNotifier
from activitysmith_integrations.airflow.operators import ActivitySmithEndStreamOperator

contender, peer, runs, cap, *faults = sys.argv[1:]
dag = DAG("nightly", schedule=None)
RUN = SimpleNamespace(dag_id="nightly", run_id="r1", start_date=datetime.now(UTC), end_date=None)


def _work(fault: str) -> Any:
    url = f"{peer}/{fault}"
    ours = {"conn_type": "activitysmith", "password": KEY, "host": url}
    os.environ[f"AIRFLOW_CONN_ACTIVITYSMITH_{fault.upper()}"] = json.dumps(ours)
    os.environ[f"AIRFLOW_CONN_SLACK_{fault.upper()}"] = json.dumps({"conn_type": "slackwebhook", "password": url})
    context: Any = {"dag": dag, "run_id": "r1", "dag_run": RUN, "reason": "task_failure"}
    if contender == "notifier":
        return partial(ActivitySmithEndStreamNotifier(activitysmith_conn_id=f"activitysmith_{fault}"), context)
    if contender == "slack":
        return partial(SlackWebhookNotifier(slack_webhook_conn_id=f"slack_{fault}", text="failed"), context)
    with DAG("nightly", schedule=None):
        operator = ActivitySmithEndStreamOperator(task_id="end", activitysmith_conn_id=f"activitysmith_{fault}")
    return partial(operator.execute, context)


measure({fault: _work(fault) for fault in faults}, int(runs), float(cap))
