"""The local cloud: a real OpenStack on one machine."""
