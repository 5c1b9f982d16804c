"""Octavia: load balancers, by OVN."""
