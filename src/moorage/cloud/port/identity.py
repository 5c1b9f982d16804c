"""The port for the project and its credentials: Keystone."""

from __future__ import annotations

from typing import Protocol

from moorage.model.credential import Credential


class Identity(Protocol):
    """One project and the user of the credentials. Every call may raise CloudUnreachable."""

    @property
    def project(self) -> str:
        """The project's id: the same for all its users, on any machine."""
        ...

    @property
    def region(self) -> str:
        """The region in which clusters are; empty when the credentials name none."""
        ...

    def addresses(self) -> list[str]:
        """IP addresses at which nodes must reach the cloud itself; empty when the catalog has names only."""
        ...

    def ca_certificates(self) -> str:
        """PEM certificates that the user's configuration names to verify this cloud; empty for the system's own.

        BadInput when they cannot be read, or are more than a node's user data can have.
        """
        ...

    def create_credential(self, cluster: str) -> Credential:
        """Create an application credential for a cluster: restricted, for this project, with this user's roles except
        administrative ones.

        A new one at every call; BadInput when Keystone creates none for this user.
        """
        ...

    def credentials(self, cluster: str) -> list[str]:
        """The ids of this user's credentials for the cluster of this name in this project and region.

        Other users' are not visible.
        """
        ...

    def delete_credential(self, id: str) -> None:
        """Revoke a credential; does nothing when it does not exist."""
        ...
