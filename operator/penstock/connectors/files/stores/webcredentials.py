"""What a web server lets a worker in by: one header of each request to the URL's own origin."""

import base64
from dataclasses import dataclass, field

from penstock.connectors.files.stores.credentials import SecretKeys
from penstock.language.auth import Auth
from penstock.language.errors import InvalidSpec


@dataclass(frozen=True)
class WebCredentials:
    """A header, its value never shown, and what to check when the server refuses it."""

    header: str
    value: str = field(repr=False)
    remedy: str


ANONYMOUS = "It was asked without any: name a Secret in auth.basic, auth.bearer or auth.apiKey."


def credentials_of(auth: Auth, keys: SecretKeys) -> WebCredentials:
    """The header that the Secret gives. Raises InvalidSpec (SecretMissing, WrongCredentials)."""
    secret = f"in Secret {keys.name}"
    if auth.basic is not None:
        user, password = keys.required("username"), keys.optional("password") or ""
        if ":" in user:
            message = f"{keys.subject}: username {secret} has a colon, which auth.basic cannot have. Correct it."
            raise InvalidSpec(message, "WrongCredentials")
        packed = base64.b64encode(f"{user}:{password}".encode()).decode()
        return WebCredentials("Authorization", f"Basic {packed}", f"Check username and password {secret}.")
    if auth.bearer is not None:
        token = _header_value(keys, "token")
        return WebCredentials("Authorization", f"Bearer {token}", f"Check token {secret}.")
    assert auth.api_key is not None  # noqa: S101 - the spec allows no other member with a web server
    return WebCredentials(auth.api_key.header, _header_value(keys, "api-key"), f"Check api-key {secret}.")


def _header_value(keys: SecretKeys, key: str) -> str:
    """The value of a key, which must be printable ASCII to stand in a header (RFC 9110)."""
    value = keys.required(key)
    if not (value.isascii() and value.isprintable()):
        message = f'{keys.subject}: "{key}" in Secret {keys.name} has a character that no header can have. Correct it.'
        raise InvalidSpec(message, "WrongCredentials")
    return value
