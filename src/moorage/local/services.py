"""The table of the local cloud's OpenStack services.

A service is one entry here and one folder of configuration templates, `projects/<name>/`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from moorage.local.layout import GATEWAY


@dataclass(frozen=True)
class Service:
    """One OpenStack project, run as one process: its API and its RPC services as threads.

    `distribution` is the package with the service's version. `application` is `module:attribute` of the WSGI
    application. `prepare` is a function to call before its import, `threads` one to call once the API listens and the
    catalog is complete (both get the Layout); when it returns, the service is ready. `before_listening` is a function
    to call before the API listens: to load the policy (some projects load it at the first request without a lock, and
    reject concurrent requests), or to repair what an earlier process left.

    `migrations` are programs in the interpreter's folder that bring the databases to the installed version, in this
    order; they can be repeated. `environment`, `migrations` and `arguments` (the command line that the project sees)
    may contain `{etc}`, the folder of its rendered configuration.
    """

    name: str
    distribution: str
    port: int
    type: str
    path: str
    application: str
    databases: tuple[str, ...]
    migrations: tuple[tuple[str, ...], ...]
    prepare: str | None = None
    threads: str | None = None
    before_listening: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    roles: tuple[str, ...] = ("admin", "service")
    domain: str | None = None
    """The service's own Keystone domain, with `<name>_domain_admin` as its administrator."""

    @property
    def url(self) -> str:
        """The URL of the catalog's endpoints, the same for every interface."""
        return f"http://{GATEWAY}:{self.port}{self.path}"


def _manage_command(program: str, config: str, *arguments: str) -> tuple[str, ...]:
    return (program, "--config-file", f"{{etc}}/{config}", *arguments)


KEYSTONE = Service(
    name="keystone",
    distribution="keystone",
    port=5000,
    type="identity",
    path="/v3",
    application="keystone.wsgi.api:application",
    prepare="moorage.local.projects.keystone.bootstrap:prepare",
    before_listening="moorage.local.projects.keystone.bootstrap:load_rules",
    databases=("keystone",),
    migrations=(_manage_command("keystone-manage", "keystone.conf", "db_sync"),),
    environment={"OS_KEYSTONE_CONFIG_DIR": "{etc}"},
)
PLACEMENT = Service(
    name="placement",
    distribution="openstack-placement",
    port=8778,
    type="placement",
    path="",
    application="placement.wsgi.api:application",
    databases=("placement",),
    migrations=(_manage_command("placement-manage", "placement.conf", "db", "sync"),),
    environment={"OS_PLACEMENT_CONFIG_DIR": "{etc}"},
)
GLANCE = Service(
    name="glance",
    distribution="glance",
    port=9292,
    type="image",
    path="",
    application="glance.wsgi.api:application",
    databases=("glance",),
    migrations=(_manage_command("glance-manage", "glance-api.conf", "db_sync"),),
    environment={"OS_GLANCE_CONFIG_DIR": "{etc}"},
)
NOVA = Service(
    name="nova",
    distribution="nova",
    port=8774,
    type="compute",
    path="/v2.1",
    application="nova.wsgi.osapi_compute:application",
    prepare="moorage.local.projects.nova.threads:prepare",
    before_listening="moorage.local.projects.nova.threads:recover",
    threads="moorage.local.projects.nova.threads:start",
    databases=("nova_api", "nova_cell0", "nova_cell1"),
    migrations=(
        _manage_command("nova-manage", "nova.conf", "api_db", "sync"),
        _manage_command(
            "nova-manage",
            "nova.conf",
            "cell_v2",
            "map_cell0",
            "--database_connection",
            "{{scheme}}://{{username}}@{{hostname}}/nova_cell0?{{query}}",
        ),
        _manage_command("nova-manage", "nova.conf", "db", "sync"),
        _manage_command(
            "nova-manage",
            "nova.conf",
            "cell_v2",
            "create_cell",
            "--name",
            "cell1",
            "--transport-url",
            "fake://",
            "--database_connection",
            "{{scheme}}://{{username}}@{{hostname}}/{{path}}?{{query}}",
        ),
    ),
    environment={"OS_NOVA_CONFIG_DIR": "{etc}"},
)
NEUTRON = Service(
    name="neutron",
    distribution="neutron",
    port=9696,
    type="network",
    path="",
    application="neutron.wsgi.api:application",
    prepare="moorage.local.projects.neutron.threads:prepare",
    threads="moorage.local.projects.neutron.threads:start",
    before_listening="neutron.policy:init",
    databases=("neutron",),
    migrations=(
        (
            *_manage_command("neutron-db-manage", "neutron.conf"),
            "--config-file",
            "{etc}/ml2_conf.ini",
            "upgrade",
            "heads",
        ),
    ),
    environment={
        "OS_NEUTRON_CONFIG_DIR": "{etc}",
        "OS_NEUTRON_CONFIG_FILES": "neutron.conf;ml2_conf.ini",
        "ASGI_WORKERS": "1",
    },
)
CINDER = Service(
    name="cinder",
    distribution="cinder",
    port=8776,
    type="block-storage",
    path="/v3",
    application="cinder.wsgi.api:application",
    prepare="moorage.local.projects.cinder.threads:prepare",
    threads="moorage.local.projects.cinder.threads:start",
    before_listening="cinder.policy:init",
    databases=("cinder",),
    migrations=(_manage_command("cinder-manage", "cinder.conf", "db", "sync"),),
    environment={"OS_CINDER_DISABLE_EVENTLET_PATCHING": "1"},
    arguments=("--config-file", "{etc}/cinder.conf"),
)
HEAT = Service(
    name="heat",
    distribution="openstack-heat",
    port=8004,
    type="orchestration",
    path="/v1/%(tenant_id)s",
    application="heat.wsgi.api:application",
    threads="moorage.local.projects.heat.threads:start",
    databases=("heat",),
    migrations=(_manage_command("heat-manage", "heat.conf", "db_sync"),),
    arguments=("--config-file", "{etc}/heat.conf"),
    domain="heat",
)
OCTAVIA = Service(
    name="octavia",
    distribution="octavia",
    port=9876,
    type="load-balancer",
    path="",
    application="octavia.wsgi.api:application",
    prepare="moorage.local.projects.octavia.threads:prepare",
    threads="moorage.local.projects.octavia.threads:start",
    databases=("octavia",),
    migrations=(_manage_command("octavia-db-manage", "octavia.conf", "upgrade", "head"),),
    arguments=("--config-file", "{etc}/octavia.conf"),
)

SERVICES: tuple[Service, ...] = (KEYSTONE, PLACEMENT, GLANCE, NOVA, NEUTRON, CINDER, HEAT, OCTAVIA)


def service(name: str) -> Service:
    """The table's entry; KeyError for an unknown name."""
    return {entry.name: entry for entry in SERVICES}[name]
