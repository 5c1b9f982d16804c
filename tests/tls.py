"""A server with a certificate of a CA that no system trusts."""

from __future__ import annotations

import socketserver
import ssl
import tempfile
from pathlib import Path

from moorage.node.pki import Authority, Subject


def with_tls(server: socketserver.TCPServer) -> str:
    """Let a server on 127.0.0.1 speak TLS from now on; returns its CA's certificate as PEM."""
    authority = Authority.new("a private CA")
    pair = authority.issue(Subject("server", addresses=("127.0.0.1",)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder) / "certificate", Path(folder) / "key"
        certificate.write_text(pair.certificate)
        key.write_text(pair.key)
        context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return authority.pair.certificate
