"""Certificates made for one test run, and what a server and a client need of them."""

import ssl
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

OPENSSL = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]


@dataclass
class Certificate:
    """A certificate that signs itself, with its key, in one file. `named` are the names that clients asked for (SNI)."""

    path: Path
    named: list[str | None] = field(default_factory=list)

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path)
        context.sni_callback = lambda _, name, __: self.named.append(name)
        return context


def made_for(names: str, folder: Path) -> Certificate:
    """`names` as in subjectAltName: `IP:127.0.0.1`, `DNS:model.test`."""
    key, cert, both = folder / "key.pem", folder / "cert.pem", folder / "both.pem"
    subject = ["-subj", "/CN=test", "-addext", f"subjectAltName={names}", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*OPENSSL, *subject], check=True, capture_output=True, timeout=300)
    both.write_text(key.read_text() + cert.read_text())
    return Certificate(both)
