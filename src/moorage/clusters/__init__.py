"""A cluster's life: observe, plan, execute, until the cluster is as specified or deleted."""
