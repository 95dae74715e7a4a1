"""Credentials: which Secret of the namespace a run uses, and how."""

from typing import Annotated

from pydantic import Field

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
            "`region` where they are needed. Default: the Pod's own identity, such as the IAM role of "
            "`worker.serviceAccountName` or an EKS Pod Identity."
        ),
    ] = None


class GoogleServiceAccount(Model):
    """A service account of Google Cloud."""

    secret_ref: Annotated[
        SecretRef,
        Field(description="Secret with the key `key.json`, a JSON key of the service account as gcloud writes it."),
    ]


class Basic(Model):
    """A user and a password."""

    secret_ref: Annotated[
        SecretRef,
        Field(
            description="Secret with the keys `username` and `password`, as Kubernetes has them in its type "
            "kubernetes.io/basic-auth."
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
    basic: Annotated[
        Basic | None,
        Field(description="User and password, from a Secret of this namespace. Never shown, never logged."),
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
