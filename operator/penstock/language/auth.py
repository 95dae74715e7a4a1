"""Credentials: which Secret of the namespace a run uses, and how."""

from typing import Annotated

from pydantic import Field

from penstock.language.model import Model, OneOf
from penstock.language.scalars import Name


class SecretRef(Model):
    """A Secret in the namespace where the run happens, by name."""

    name: Annotated[Name, Field(description="Name of the Secret.")]


class Aws(Model):
    """Access keys for S3 and whatever speaks its protocol."""

    secret_ref: Annotated[
        SecretRef,
        Field(
            description="Secret with the keys `access_key_id` and `secret_access_key`, and `session_token` and "
            "`region` where they are needed."
        ),
    ]


class Auth(OneOf):
    """How to authenticate; at most one member. Without it, requests are anonymous."""

    aws: Annotated[
        Aws | None,
        Field(description="Access keys for s3:// URLs, from a Secret of this namespace. Never shown, never logged."),
    ] = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the Secrets that a worker needs."""
        reference: SecretRef | None = getattr(self, self.choice).secret_ref
        return () if reference is None else (reference.name,)
