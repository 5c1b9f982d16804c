"""Volumes of the cloud for pods: the CSI driver, one small port for whatever keeps the bytes."""
