"""What joins a cluster to its cloud: nodes, load balancers; one concern a folder."""
