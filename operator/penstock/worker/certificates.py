"""The certificate authorities that a connector trusts, as files in the Pod."""

import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from penstock.language.certificates import CaBundle
from penstock.language.errors import InvalidSpec
from penstock.worker.pod import Pod

_CERTIFICATES = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


@dataclass(frozen=True)
class Authorities:
    """Authorities in the file, in PEM; `source` says where they come from: `ca.crt in ConfigMap company-ca`."""

    file: Path
    source: str

    def context(self) -> ssl.SSLContext:
        """How a client checks a server's certificate against them."""
        return ssl.create_default_context(cafile=str(self.file))

    def pem(self) -> str:
        """The certificates alone: a bundle may have remarks in any alphabet between them."""
        return "\n".join(_CERTIFICATES.findall(self.file.read_text(encoding="utf-8", errors="replace"))) + "\n"


_OTHER_NAME = {62, 64}
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_EXPIRED = {9, 10}
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""


def remedy(code: int) -> str:
    """What to do about a certificate that was refused; `code` is OpenSSL's."""
    if code in _OTHER_NAME:
        return "Name the host as its certificate does, or give it a certificate for this name."
    if code in _EXPIRED:
        return "Renew the certificate of the server."
    return "Name the authority that has signed it in caBundle."


def trusted(bundle: CaBundle | None, pod: Pod, subject: str) -> Authorities | None:
    """The authorities of the bundle; None where there is none, and those of the system are trusted.

    Raises InvalidSpec: ResourceNotFound where there is no such ConfigMap or key, TlsFailed where it has no certificate.
    """
    if bundle is None:
        return None
    reference = bundle.config_map_ref
    file = pod.config_file(reference.name, reference.key)
    if file is None:
        message = (
            f"{subject}: ConfigMap {reference.name} with the key {reference.key} does not exist in this namespace. "
        )
        raise InvalidSpec(f"{message}Create it, or correct caBundle.", "ResourceNotFound")
    authorities = Authorities(file, f"{reference.key} in ConfigMap {reference.name}")
    try:
        authorities.context()
    except (ssl.SSLError, OSError):
        message = f"{subject}: {authorities.source} has no certificate in PEM, or a damaged one. Replace it."
        raise InvalidSpec(message, "TlsFailed") from None
    return authorities


def context(authorities: Authorities | None) -> ssl.SSLContext | bool:
    """What aiohttp takes: True for the authorities of the system."""
    return True if authorities is None else authorities.context()
