"""How long Prefect's side is held: the hook as Prefect calls it, one run of the task, and Slack's block."""

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

from contenders import KEY
from holding import measure
from prefect import flow
from prefect.client.schemas.objects import FlowRun
from prefect.states import Failed
from prefect_slack import SlackWebhook
from pydantic import SecretStr

from activitysmith_integrations.prefect import (
    ActivitySmithCredentials,
    end_live_activity_stream,
    end_live_activity_stream_hook,
)

contender, peer, runs, cap, *faults = sys.argv[1:]


@flow
def nightly() -> None: ...


def _work(fault: str) -> Callable[[], Any]:
    url = f"{peer}/{fault}"
    if contender == "slack":
        return partial(SlackWebhook(url=SecretStr(url)).notify, "failed")
    account = ActivitySmithCredentials(api_key=SecretStr(KEY), base_url=url)
    if contender == "task":
        return partial(end_live_activity_stream.fn, "nightly", credentials=account)
    hook = end_live_activity_stream_hook("nightly", credentials=account)
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="quick-fox")
    return lambda: asyncio.run(hook(nightly, run, Failed()))


measure({fault: _work(fault) for fault in faults}, int(runs), float(cap))
