"""A local ActivitySmith to develop and test against: ``python -m activitysmith_integrations.sandbox``.

Imports nothing, so that the command can say which extra to install where Starlette or uvicorn are missing.
"""
