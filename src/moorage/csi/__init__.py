"""The CSI driver: the cloud's volumes for pods, over a small port for storage backends."""
