"""The cluster's credential: a new one is written to the file, and a rejection is reported."""

from __future__ import annotations

import base64
import stat
from threading import Event

import pytest

from moorage.controller.credential import PERIOD, SOON, CredentialWatch, until_accepted
from moorage.kube.events import Recorder
from moorage.kube.memory import MemoryKubernetesClient
from moorage.kube.port import CONFIG_MAPS, EVENTS, SECRETS
from moorage.model.credential import SECRET, STATE
from moorage.model.errors import CloudUnreachable

pytestmark = pytest.mark.unit


class Keystone:
    """Accepts the credential, or refuses it with this message."""

    refuses = ""

    def check(self):
        if self.refuses:
            raise CloudUnreachable(self.refuses)


@pytest.fixture
def api():
    return MemoryKubernetesClient()


@pytest.fixture
def keystone():
    return Keystone()


@pytest.fixture
def watch(api, keystone, tmp_path):
    file = tmp_path / "clouds.yaml"
    file.write_text("the first")
    return CredentialWatch(api, Recorder(api, "test", lambda: 0.0), file, keystone.check)


def give(api, text):
    data = {"clouds.yaml": base64.b64encode(text.encode()).decode()}
    api.create(SECRETS, {"metadata": {"namespace": "kube-system", "name": SECRET.partition("/")[2]}, "data": data})


def problem(api):
    state = api.get(CONFIG_MAPS, STATE)
    return state["data"]["problem"] if state else None


def test_accepted_credential_reports_nothing(api, watch):
    assert watch.reconcile("cloud") == PERIOD
    assert problem(api) is None
    assert watch.file.read_text() == "the first"


def test_new_credential_is_written_privately(api, watch):
    give(api, "the second")
    watch.reconcile("cloud")
    assert watch.file.read_text() == "the second"
    assert stat.S_IMODE(watch.file.stat().st_mode) == 0o600
    before = watch.file.stat().st_ino
    watch.reconcile("cloud")
    assert watch.file.stat().st_ino == before, "the same credential is not written again"


def test_rejected_credential_is_reported_until_accepted(api, watch, keystone):
    keystone.refuses = "Keystone refused the credentials"
    assert watch.reconcile("cloud") == SOON
    assert problem(api) == "Keystone refused the credentials"
    event = api.list(EVENTS).items[0]
    assert event["reason"] == "CloudUnreachable"
    assert "Keystone refused the credentials" in event["message"]
    keystone.refuses = ""
    assert watch.reconcile("cloud") == PERIOD
    assert problem(api) == ""


def test_start_waits_for_accepted_credential(api, watch, keystone, monkeypatch):
    monkeypatch.setattr("moorage.controller.credential.SOON", 0.01)
    keystone.refuses, problems = "revoked", []

    def connect():
        problems.append(problem(api))
        if len(problems) == 3:
            keystone.refuses = ""
        keystone.check()
        return "settings"

    assert until_accepted(watch, connect, Event()) == "settings"
    assert problems == [None, "revoked", "revoked"]


def test_unreachable_api_does_not_end_the_wait(api, watch, keystone, monkeypatch):
    monkeypatch.setattr("moorage.controller.credential.SOON", 0.01)
    api.unreachable, calls = "gone", []

    def connect():
        calls.append(None)
        if len(calls) < 3:
            raise CloudUnreachable("not yet")
        return True

    assert until_accepted(watch, connect, Event())


def test_stop_ends_the_wait(watch):
    stop = Event()
    stop.set()
    assert until_accepted(watch, lambda: pytest.fail("asked"), stop) is None
