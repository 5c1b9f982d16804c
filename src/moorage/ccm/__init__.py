"""What joins a cluster to its cloud: nodes, load balancers, volumes; one concern a folder."""
