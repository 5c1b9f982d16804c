"""The node part of the CSI driver: from an attached disk to a folder or device in a pod. It needs no cloud."""
