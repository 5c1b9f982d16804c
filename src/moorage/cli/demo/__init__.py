"""`moorage demo`: the local cloud with a cluster, an application and a database, in one command."""

from moorage.cli.demo.commands import demo

__all__ = ["demo"]
