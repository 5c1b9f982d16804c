"""Signal the result of a node's first boot to the stack: Heat's resource signal."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field

from moorage.node.files import File, write
from moorage.node.layout import Layout
from moorage.node.userdata import Signal, verifying
from moorage.node.waiting import Deadline, NotYet

TIMEOUT = 10.0


@dataclass(frozen=True)
class Report:
    """The result: `reason` is a message for users; `data` is public."""

    node: str
    ready: bool
    reason: str
    data: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, object]:
        """The body of a wait condition's signal."""
        status = "SUCCESS" if self.ready else "FAILURE"
        return {"status": status, "reason": self.reason, "id": self.node, "data": dict(self.data)}


def send_once(layout: Layout, signal: Signal | None, report: Report, deadline: Deadline) -> None:
    """Signal, unless an earlier boot did. TimedOut when it was not accepted."""
    done = layout.state / "signalled"
    if signal is None or done.exists():
        return
    deadline.until(lambda: post(signal, report), interval=0.5)
    write(done, File(f"{report.body['status']}: {report.reason}\n"))


def post(signal: Signal, report: Report) -> None:
    """Send the signal; NotYet when it was not accepted."""
    headers = {"Content-Type": "application/json", "X-Auth-Token": signal.token}
    request = urllib.request.Request(signal.endpoint, json.dumps(report.body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT, context=verifying(signal.ca)):
            return
    except urllib.error.HTTPError as error:
        problem = f"{signal.endpoint} answered {error.code} {error.reason}"
        error.close()
        # A rejection may pass, too: a Keystone or Heat that is starting does not know its tokens yet.
        raise NotYet(f"the stack does not accept this node's signal: {problem}") from error
    except OSError as error:
        raise NotYet(f"{signal.endpoint} does not answer: {error}") from error
