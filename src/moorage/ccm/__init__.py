"""The cloud controller manager's reconcilers, one folder each for nodes, load balancers and volumes."""
