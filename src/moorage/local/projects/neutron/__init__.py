"""Neutron in the local cloud."""
