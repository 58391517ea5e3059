"""The errors, from their classes."""

import inspect

from activitysmith_integrations import core
from site_builder.members import table

_WHAT_TO_DO: dict[type[core.ActivitySmithError], str] = {
    core.ConfigurationError: "The message names the argument or variable, and what is wrong with it.",
    core.InvalidRequestError: "The message names the member, the rule, and what was probably meant.",
    core.BadRequestError: "Read the service's message, which is quoted.",
    core.AuthenticationError: "Check the API key in the connection, block or variable.",
    core.BillingError: "Follow the address in the message.",
    core.PermissionDeniedError: "Give the API key the scope or channels.",
    core.NotFoundError: "Check the stream key.",
    core.NoRecipientsError: "Pair an iPhone that has the app, or check the channels.",
    core.RateLimitError: "See [limits](limits.md). Wait `retry_after` seconds, or end another Live Activity.",
    core.ServerError: "Try later.",
    core.APIStatusError: "Read the service's message, which is quoted.",
    core.APIConnectionError: "Check network, proxy and base URL.",
    core.APITimeoutError: "Check network, proxy and base URL; try later.",
    core.InvalidResponseError: "Check the base URL; something else may answer there, such as a proxy.",
}


def errors() -> str:
    """All errors: when they are raised, and what to do."""
    rows = [
        (f"`{kind.__name__}`", (inspect.getdoc(kind) or "").partition("\n")[0], what)
        for kind, what in _WHAT_TO_DO.items()
    ]
    return table(("error", "when", "what to do"), rows)
