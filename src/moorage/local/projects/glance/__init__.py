"""Glance in the local cloud."""
