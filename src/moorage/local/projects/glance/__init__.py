"""Glance, as the local cloud runs it."""
