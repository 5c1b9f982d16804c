"""The example with state: PostgreSQL on a Cinder volume, used from this machine through its load balancer."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moorage.catalog.build import Report, push
from moorage.catalog.kubectl import Kubectl
from moorage.catalog.names import EXAMPLES
from moorage.model.errors import Failed, TimedOut

FOLDER = EXAMPLES / "postgres"
MANIFEST = FOLDER / "postgres.yaml"
NAME = "postgres"
"""The name of its Service, its Secret, its user and its database."""
PORT = 5432
ADDRESS_TIMEOUT = 180
ROW_TIMEOUT = 180.0
CONNECT_TIMEOUT, ANSWER_TIMEOUT = 1.0, 10.0
TRANSIENT = ("08", "53", "57")
"""Transient classes of SQLSTATE: connection, resources, operator intervention such as a restart."""
WRITE = (
    "CREATE TABLE IF NOT EXISTS visits ("
    "id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, came timestamptz NOT NULL DEFAULT now())",
    "INSERT INTO visits DEFAULT VALUES",
)
COUNT = "SELECT count(*) FROM visits"


@dataclass(frozen=True)
class Login:
    """The database's address and password."""

    host: str
    password: str
    port: int = PORT


def push_image(cache: Path) -> None:
    """Push the container image, which must be built, to the local cloud's registry."""
    from moorage.image import debian_container

    recipe = debian_container.read(FOLDER)
    push(debian_container.reference(recipe, cache), recipe.name)


def password(kubectl: Kubectl) -> str:
    """The password in the cluster's Secret; created at random the first time.

    It never changes, because the database keeps the one with which its data folder was created.
    """
    found = kubectl("get", "secret", NAME, "--namespace=default", "--ignore-not-found", "--output=json")
    if found.strip():
        return base64.b64decode(json.loads(found)["data"]["password"]).decode()
    made = secrets.token_urlsafe(24)
    kubectl("create", "--filename=-", given=json.dumps(_secret(made)))
    return made


def _secret(value: str) -> dict[str, Any]:
    metadata = {"name": NAME, "namespace": "default", "labels": {"app": NAME}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"password": value}}


def await_address(kubectl: Kubectl, report: Report) -> str:
    """The floating IP of the database's load balancer, once it has one."""
    report("waiting for the database's load balancer")
    service = [f"service/{NAME}", "--namespace=default"]
    there = "jsonpath={.status.loadBalancer.ingress}"
    try:
        kubectl("wait", *service, f"--for={there}", f"--timeout={ADDRESS_TIMEOUT}s")
    except Failed as error:
        reason = f"Service {NAME} has no address after {ADDRESS_TIMEOUT} s: {error.message}"
        raise TimedOut(reason, f"kubectl describe service {NAME}") from error
    return kubectl("get", *service, "--output=jsonpath={.status.loadBalancer.ingress[0].ip}").strip()


def await_row(login: Login, report: Report) -> int:
    """Write a row as soon as the database is reachable, and return the number of rows."""
    report(f"waiting for the database to answer on {login.host}:{login.port}")
    deadline = time.monotonic() + ROW_TIMEOUT
    while True:
        try:
            return add_row(login)
        except ConnectionError as error:
            if time.monotonic() > deadline:
                reason = f"the database accepted no row within {ROW_TIMEOUT:.0f} s: {error}"
                raise TimedOut(reason, "kubectl describe pod postgres-0") from error
        time.sleep(0.2)


def add_row(login: Login) -> int:
    """Write a row and return the number of rows.

    ConnectionError when the database is unreachable or not ready, Failed when it rejects the statements.
    """
    return _ask(login, (*WRITE, COUNT), ANSWER_TIMEOUT)


def count(login: Login, timeout: float) -> int:
    """The number of rows; raises as `add_row` does."""
    return _ask(login, (COUNT,), timeout)


def _ask(login: Login, statements: Sequence[str], timeout: float) -> int:
    """Run the statements, each in its own transaction, and return the number that the last one selects."""
    from pg8000 import exceptions

    try:
        return _run(login, statements, timeout)
    except exceptions.DatabaseError as error:
        raise error_for(error.args[0]) from error
    except (exceptions.Error, OSError, struct.error) as error:  # the last one when it is cut off within a message
        raise ConnectionError(f"{login.host}:{login.port}: {error}") from error


def _run(login: Login, statements: Sequence[str], timeout: float) -> int:
    from pg8000.native import Connection

    with socket.create_connection((login.host, login.port), min(CONNECT_TIMEOUT, timeout)) as line:
        line.settimeout(timeout)
        with closing(Connection(NAME, password=login.password, sock=line)) as connection:
            answers = [connection.run(statement) for statement in statements]
    return int(answers[-1][0][0])


def error_for(fields: dict[str, str]) -> Exception:
    """Translate the server's error. Fields as in PostgreSQL's protocol: C is the SQLSTATE, M the message."""
    message = f"the database reports: {fields.get('M', fields)}"
    if fields.get("C", "").startswith(TRANSIENT):
        return ConnectionError(message)
    return Failed(message, "kubectl logs postgres-0")
