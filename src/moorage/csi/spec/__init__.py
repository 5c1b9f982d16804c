"""CSI 1.12: csi.proto as published (Apache-2.0), the kubelet's registration API, and the modules that protoc generates.

`python -m moorage.csi.spec.generate` writes the files that end in _pb2.py and _pb2_grpc.py.
"""
