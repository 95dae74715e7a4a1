"""Credentials: which Secret of the namespace a run uses, and how."""

import base64
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from penstock.language.model import Model, OneOf
from penstock.language.scalars import Name


class SecretRef(Model):
    """A Secret in the namespace where the run happens, by name."""

    name: Annotated[Name, Field(description="Name of the Secret.")]


class Aws(Model):
    """Access keys for S3 and whatever speaks its protocol, or the Pod's own identity."""

    secret_ref: Annotated[
        SecretRef | None,
        Field(
            description="Secret with the keys `access_key_id` and `secret_access_key`, and `session_token` and "
            "`region` if they are needed. Default: the Pod's own identity, such as the IAM role of "
            "`worker.serviceAccountName` or an EKS Pod Identity."
        ),
    ] = None


class GoogleServiceAccount(Model):
    """A service account of Google Cloud."""

    secret_ref: Annotated[
        SecretRef,
        Field(description="Secret with the key `key.json`, a JSON key of the service account as gcloud writes it."),
    ]


class Azure(Model):
    """A key or a shared access signature of a storage account on Azure."""

    secret_ref: Annotated[
        SecretRef,
        Field(
            description="Secret with the key `connection_string`, or `account_name` with `account_key` or `sas_token`."
        ),
    ]


class Basic(Model):
    """A user and a password."""

    secret_ref: Annotated[
        SecretRef,
        Field(
            description="Secret with the keys `username` and `password`, such as one of the type "
            "kubernetes.io/basic-auth."
        ),
    ]


class Bearer(Model):
    """A token that each request carries (RFC 6750)."""

    secret_ref: Annotated[SecretRef, Field(description="Secret with the key `token`.")]


def _free_header(name: str) -> str:
    if name.lower() in _OWN_HEADERS:
        raise ValueError(f"{name} is a header that the worker sets itself")
    return name


_OWN_HEADERS = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "expect", "range",
     "if-match", "accept-encoding", "cookie", "user-agent"}
)  # fmt: skip
_HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"


class ApiKey(Model):
    """A key that each request carries in a header of its own."""

    header: Annotated[
        str,
        AfterValidator(_free_header),
        Field(
            min_length=1,
            max_length=128,
            pattern=_HEADER,
            json_schema_extra={"pattern": _HEADER},
            description="The name of the header that carries the key.",
        ),
    ] = "X-API-Key"
    secret_ref: Annotated[SecretRef, Field(description="Secret with the key `api-key`.")]


def _host_keys(text: str) -> str:
    """Lines of a known_hosts file, at least one of which names a key."""
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise ValueError("name at least one host key: the lines that ssh-keyscan prints for the server")
    for words in lines:
        entry = words[1:] if words[0].startswith("@") else words
        if len(entry) < 3 or not _KEY_KIND.match(entry[1]) or not _is_base64(entry[2]):
            raise ValueError(
                f'"{" ".join(words)[:60]}" is no line of known_hosts: host, kind of key, and key in base64'
            )
    return text


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except ValueError:
        return False


_KEY_KIND = re.compile(r"(ssh|ecdsa|sk|rsa)-[a-z0-9@.-]+$")


class Ssh(Model):
    """A login by SSH. The server's host key must be one of `knownHosts`: without it, anybody could be the server."""

    secret_ref: Annotated[
        SecretRef,
        Field(
            description="Secret with the key `username`, and `ssh-privatekey` (with `passphrase` if it is encrypted) "
            "or `password`."
        ),
    ]
    known_hosts: Annotated[
        str,
        AfterValidator(_host_keys),
        Field(
            min_length=1,
            max_length=16384,
            description="The accepted host keys, as lines of a known_hosts file, as ssh-keyscan prints them. Write "
            "`[host]:port` for a server whose port is not 22.",
        ),
    ]


class Auth(OneOf):
    """How to authenticate; at most one member. Without it, requests are anonymous."""

    aws: Annotated[
        Aws | None,
        Field(description="Access keys for s3:// URLs, from a Secret of this namespace. Never shown, never logged."),
    ] = None
    google_service_account: Annotated[
        GoogleServiceAccount | None, Field(description="For gs:// URLs: the key of a service account.")
    ] = None
    azure: Annotated[Azure | None, Field(description="For az:// URLs: a key or a SAS of the storage account.")] = None
    basic: Annotated[
        Basic | None,
        Field(description="User and password, from a Secret of this namespace. Never shown, never logged."),
    ] = None
    bearer: Annotated[Bearer | None, Field(description="For http(s):// URLs: a token in the header Authorization.")] = (
        None
    )
    api_key: Annotated[ApiKey | None, Field(description="For http(s):// URLs: a key in a header of your choice.")] = (
        None
    )
    ssh: Annotated[
        Ssh | None, Field(description="For sftp:// URLs: a key or a password, and the host keys of the server.")
    ] = None

    @property
    def member(self) -> str:
        """The member that is set, as manifests write it."""
        return type(self).model_fields[self.choice].alias or self.choice

    @property
    def secret(self) -> str | None:
        """The name of the Secret that a worker needs, None where it needs none."""
        reference: SecretRef | None = getattr(self, self.choice).secret_ref
        return None if reference is None else reference.name

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the Secrets that a worker needs."""
        return () if self.secret is None else (self.secret,)
