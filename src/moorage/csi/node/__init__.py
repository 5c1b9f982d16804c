"""The node's side: from a disk that the cloud attached to a folder or a device in a pod. It asks no cloud anything."""
