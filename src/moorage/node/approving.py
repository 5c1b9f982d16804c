"""`moorage-node approve`: the loop around the approver's decisions."""

from __future__ import annotations

import time
from collections.abc import Callable

from moorage.node.api import Api, Object, Refused, Unreachable
from moorage.node.approver import SIGNER, Decision, answer, decide

REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
FIELD = f"?fieldSelector=spec.signerName%3D{SIGNER.replace('/', '%2F')}"
PATIENCE = 30.0
"""Seconds for which a request waits until its node has reported the requested addresses."""
WATCH = 300


def approve_forever(api: Api, node_cidr: str, say: Callable[[str], None]) -> None:
    """Answer requests as they arrive; continues after interruptions of the API server."""
    waiting: dict[str, float] = {}
    while True:
        try:
            version = approve_pending(api, node_cidr, say, waiting)
            for _ in api.watch(REQUESTS, version, 1 if waiting else WATCH, fieldSelector=f"spec.signerName={SIGNER}"):
                break
        except (Unreachable, Refused) as error:
            say(f"waiting for the API server: {error}")
            time.sleep(1)


def approve_pending(api: Api, node_cidr: str, say: Callable[[str], None], waiting: dict[str, float]) -> str:
    """Answer all requests that can be answered now; returns the list's version, for the watch."""
    listed = api.get(REQUESTS + FIELD)
    pending = [one for one in listed["items"] if not (one.get("status") or {}).get("conditions")]
    nodes = api.get("/api/v1/nodes")["items"] if pending else []
    names = {one["metadata"]["name"] for one in pending}
    for gone in waiting.keys() - names:
        del waiting[gone]
    for request in pending:
        _answer(api, request, patient(decide(request, nodes, node_cidr), request, waiting), say)
    return str(listed["metadata"]["resourceVersion"])


def patient(decision: Decision, request: Object, waiting: dict[str, float]) -> Decision:
    """Turn a wait that has lasted too long into a denial; keeps the time since which each one waits."""
    name = request["metadata"]["name"]
    if decision.verdict != "wait":
        waiting.pop(name, None)
        return decision
    since = waiting.setdefault(name, time.monotonic())
    return decision if time.monotonic() - since < PATIENCE else Decision("deny", decision.reason)


def _answer(api: Api, request: Object, decision: Decision, say: Callable[[str], None]) -> None:
    if decision.verdict not in ("approve", "deny"):
        return
    name = request["metadata"]["name"]
    api.replace(f"{REQUESTS}/{name}/approval", answer(request, decision))
    done = "approved" if decision.verdict == "approve" else "denied"
    say(f"{done} {name} of {request['spec'].get('username')}: {decision.reason}")
