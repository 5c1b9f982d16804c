"""Octavia: load balancers, implemented by OVN."""
