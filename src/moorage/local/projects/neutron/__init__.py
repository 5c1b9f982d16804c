"""Neutron, as the local cloud runs it."""
