"""Keystone, as the local cloud runs it."""
