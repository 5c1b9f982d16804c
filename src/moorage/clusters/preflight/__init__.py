"""Reject specs that cannot become a cluster, before anything is created."""
