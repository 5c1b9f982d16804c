"""Placement in the local cloud."""
