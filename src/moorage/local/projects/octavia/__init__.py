"""Octavia in the local cloud: load balancers, implemented by OVN."""
