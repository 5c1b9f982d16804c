"""What a cluster made in its cloud by itself, unknown to its stack: load balancers, addresses, volumes, snapshots."""
