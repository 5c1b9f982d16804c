"""Application credentials of the user, in a real Keystone."""

from __future__ import annotations

from collections.abc import Iterable
from secrets import token_hex

from moorage.cloud.rest import Rest
from moorage.model.credential import Credential
from moorage.model.errors import BadInput, NotFound
from moorage.model.ownership import owned_by

ADMINISTRATIVE = frozenset({"admin", "manager", "service"})
"""Keystone's default roles that reach beyond one project's servers, networks and volumes."""


def create(rest: Rest, cluster: str) -> Credential:
    """See `Cloud.create_credential`. The name is the cluster's and a random part; the description names the owner."""
    request = {"name": f"moorage-{cluster}-{token_hex(4)}", "description": owned_by(cluster), "unrestricted": False}
    request |= {"roles": [{"name": role} for role in without_administrative(rest.roles())]}
    try:
        created = rest.post("identity", _path(rest), {"application_credential": request})["application_credential"]
    except BadInput as error:
        raise BadInput(
            f"the cluster needs an application credential, and {error.message}",
            "use credentials that may create one: a user's own (not a restricted application credential), "
            "or --no-cloud-provider for a cluster without load balancers and volumes",
        ) from error
    return Credential(created["id"], created["secret"], rest.endpoint("identity"), rest.region or "")


def delete(rest: Rest, cluster: str, keep: str) -> None:
    """See `Cloud.delete_credentials`."""
    for row in rest.get("identity", _path(rest))["application_credentials"]:
        if row["description"] == owned_by(cluster) and row["id"] != keep:
            _delete(rest, row["id"])


def _delete(rest: Rest, id: str) -> None:
    try:
        rest.delete("identity", f"{_path(rest)}/{id}")
    except NotFound:
        return


def without_administrative(roles: Iterable[str]) -> list[str]:
    """The roles without administrative ones; all of them when there are no others."""
    names = sorted(roles)
    return [role for role in names if role not in ADMINISTRATIVE] or names


def _path(rest: Rest) -> str:
    return f"/users/{rest.user()}/application_credentials"
