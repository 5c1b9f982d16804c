"""Reconcilers that connect a cluster to its cloud: nodes, load balancers, volumes."""
