"""Certificate authorities that a connector trusts, from a ConfigMap."""

from typing import Annotated

from pydantic import Field

from penstock.language.model import Model
from penstock.language.scalars import Name

_KEY = r"^[-._a-zA-Z0-9]+$"


class ConfigMapRef(Model):
    """A ConfigMap in the namespace where the run happens, by name, and a key of it."""

    name: Annotated[Name, Field(description="Name of the ConfigMap.")]
    key: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            pattern=_KEY,
            json_schema_extra={"pattern": _KEY},
            description="The key that has the certificates, one or several, in PEM.",
        ),
    ] = "ca.crt"


class CaBundle(Model):
    """Certificate authorities in the place of those of the system."""

    config_map_ref: Annotated[
        ConfigMapRef,
        Field(description="The ConfigMap with the certificates, such as one that trust-manager writes."),
    ]


CA_BUNDLE = (
    "The certificate authorities that are trusted instead of those of the system: for a server with a certificate of "
    "your own authority."
)
"""The description of the field `caBundle`."""
