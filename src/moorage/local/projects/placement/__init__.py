"""Placement, as the local cloud runs it."""
