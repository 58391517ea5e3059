"""What goes over the wire: states, buttons, requests and answers.

Everything here is as wide as the API's contract and no wider: what the service accepts is accepted and sent
unchanged, what it refuses is refused with an ``InvalidRequestError`` that names the member and the rule. Answers
tolerate members that they do not know.
"""
