"""Responses of a cloud's services, for sessions in memory."""

from __future__ import annotations

import json


class Answer:
    """An HTTP response with a JSON body, or with none."""

    def __init__(self, status, body=None):
        self.status_code = status
        self.text = "" if body is None else json.dumps(body)
        self.content = self.text.encode()

    def json(self):
        return json.loads(self.text)
