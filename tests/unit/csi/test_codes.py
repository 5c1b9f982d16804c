"""The gRPC codes and messages of our errors."""

import grpc
import pytest

from moorage.csi.backend import NameTaken
from moorage.csi.locks import CallInProgress
from moorage.csi.messages import BadToken
from moorage.csi.serve import CODES, format_error, status_code
from moorage.csi.size import SizeOutOfRange
from moorage.model.errors import BadInput, Conflict, Failed, MoorageError, QuotaExceeded

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (CallInProgress, grpc.StatusCode.ABORTED),
        (BadToken, grpc.StatusCode.ABORTED),
        (NameTaken, grpc.StatusCode.ALREADY_EXISTS),
        (SizeOutOfRange, grpc.StatusCode.OUT_OF_RANGE),
        (BadInput, grpc.StatusCode.INVALID_ARGUMENT),
        (Conflict, grpc.StatusCode.FAILED_PRECONDITION),
        (QuotaExceeded, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (Failed, grpc.StatusCode.INTERNAL),
    ],
)
def test_status_code_of_error(kind, expected):
    assert status_code(kind("why")) is expected


def test_every_row_of_codes_is_reachable():
    assert all(status_code(kind("why")) is expected for kind, expected in CODES)


def test_every_error_has_a_code():
    assert all(status_code(kind("why")) for kind in MoorageError.__subclasses__())


def test_format_error_includes_hint():
    assert format_error(Failed("it broke")) == "it broke"
    assert format_error(Failed("it broke", "fix it")) == "it broke: fix it"
