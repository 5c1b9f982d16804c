"""Keystone in the local cloud."""
