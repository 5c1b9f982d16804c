"""`moorage-controller`: the frame in which the reconcilers of a cluster run."""
