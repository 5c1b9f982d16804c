"""Create Keystone's first entries: the administrator, the roles, and Keystone's own endpoint."""

from __future__ import annotations

import os
import traceback

from moorage.local import secrets
from moorage.local.layout import REGION, Layout
from moorage.local.services import KEYSTONE


def prepare(layout: Layout) -> None:
    """Bootstrap once. In a child process, because Keystone's backends can be loaded only once in a process."""
    marker = layout.data(KEYSTONE.name) / "bootstrapped"
    if marker.exists():
        return

    child = os.fork()
    if child == 0:
        try:
            _bootstrap(layout)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise RuntimeError("Keystone's bootstrap failed; see above")
    marker.touch()


def load_rules() -> None:
    """Load Keystone's policy, which it would load at the first use."""
    from keystone.common.rbac_enforcer.enforcer import RBACEnforcer

    RBACEnforcer.suppress_deprecation_warnings = True  # one for each of its rules
    RBACEnforcer()._enforcer.load_rules()


def _bootstrap(layout: Layout) -> None:
    import keystone.server
    from keystone.cmd.bootstrap import Bootstrapper

    keystone.server.configure(config_files=[str(layout.etc / KEYSTONE.name / "keystone.conf")])
    bootstrapper = Bootstrapper()
    bootstrapper.admin_username = bootstrapper.project_name = bootstrapper.admin_role_name = "admin"
    bootstrapper.admin_password = secrets.ensure(layout.secrets).admin
    bootstrapper.service_name = KEYSTONE.name
    bootstrapper.region_id = REGION
    bootstrapper.public_url = bootstrapper.internal_url = bootstrapper.admin_url = KEYSTONE.url
    bootstrapper.immutable_roles = True
    bootstrapper.bootstrap()
