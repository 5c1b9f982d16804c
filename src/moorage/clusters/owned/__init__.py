"""Resources that a cluster created beside its stack: load balancers, floating IPs, volumes, snapshots."""
