"""`moorage-controller`: the frame that runs the reconcilers of a cluster."""
