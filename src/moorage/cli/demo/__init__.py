"""`moorage demo`: the local cloud with a cluster and two applications on it, in one command."""

from moorage.cli.demo.commands import demo

__all__ = ["demo"]
