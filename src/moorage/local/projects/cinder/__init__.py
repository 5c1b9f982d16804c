"""Cinder, as the local cloud runs it."""
