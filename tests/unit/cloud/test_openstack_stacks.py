"""The handling of Heat's rejections."""

from __future__ import annotations

import pytest
from keystoneauth1.session import Session as RealSession

from answers import Answer
from moorage.cloud.openstack.cloud import OpenStackCloud
from moorage.cloud.openstack.rest import Rest
from moorage.cloud.port.stacks import Stack
from moorage.model.errors import BadInput, CloudUnreachable

pytestmark = pytest.mark.unit

STACK = Stack("7", "demo", "CREATE_IN_PROGRESS")
REFUSED = {"error": {"message": "Updating a stack when it is deleting is not supported.", "type": "NotSupported"}}
NO_OWNER = {"error": {"message": "Attempt to use stored_context with no user_creds", "type": "Error"}}
GONE = {"error": {"message": "The Stack (7) could not be found.", "type": "EntityNotFound"}}


class Heat(RealSession):
    """A session that rejects every change, and returns the given answers to reads."""

    def __init__(self, stack_answer, refusal=None):
        self.stack_answer = stack_answer
        self.refusal = refusal or Answer(400, REFUSED)

    def get_endpoint(self, *_, **__):
        return "http://heat:8004/v1/project"

    def request(self, url, method, **options):
        return self.stack_answer if method == "GET" else self.refusal


def stack_answer(status):
    return Answer(200, {"stack": {"id": "7", "stack_name": "demo", "stack_status": status}})


@pytest.mark.parametrize(
    "answer", [stack_answer("DELETE_IN_PROGRESS"), stack_answer("DELETE_COMPLETE"), Answer(404, GONE)]
)
def test_update_stack_in_deletion_does_nothing(answer):
    OpenStackCloud(Rest(Heat(answer), "mycloud", None, "public")).stacks.update(STACK, {})


def test_update_stack_reports_other_rejections():
    with pytest.raises(BadInput, match="not supported"):
        OpenStackCloud(Rest(Heat(stack_answer("CREATE_COMPLETE")), "mycloud", None, "public")).stacks.update(STACK, {})


@pytest.mark.parametrize("answer", [stack_answer("DELETE_COMPLETE"), Answer(404, GONE)])
def test_signal_to_stack_that_was_just_deleted_is_not_accepted(answer):
    heat = Heat(answer, Answer(500, NO_OWNER))
    assert not OpenStackCloud(Rest(heat, "mycloud", None, "public")).stacks.signal(STACK, "events", "x")


def test_signal_to_stack_that_exists_reports_an_outage():
    heat = Heat(stack_answer("CREATE_COMPLETE"), Answer(500, NO_OWNER))
    with pytest.raises(CloudUnreachable, match="stored_context"):
        OpenStackCloud(Rest(heat, "mycloud", None, "public")).stacks.signal(STACK, "events", "x")
