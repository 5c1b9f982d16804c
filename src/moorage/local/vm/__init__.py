"""Servers as virtual machines, by Nova's own libvirt driver: a second compute host, for clouds that have it.

Its libvirtd has folders and a socket of its own, separate from the machine's.
"""

from __future__ import annotations
