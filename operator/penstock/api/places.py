"""What Sources and Destinations share: where bytes lie, in which format, and who may read them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from penstock.api.model import Model, OneOf
from penstock.api.scalars import Name, OneCharacter, ShortText, Url

VOLUMES = "/volumes"

_ENDPOINT = r"^https?://[^/?#@]+(/[^?#]*)?$"

Compression = Literal["none", "gzip"]


class Volume(Model):
    """A PersistentVolumeClaim that holds the files of a `file://` URL."""

    claim_name: Annotated[
        Name,
        Field(description="Name of a PersistentVolumeClaim in this namespace; it is mounted at /volumes/<claimName>."),
    ]

    @property
    def mount_path(self) -> str:
        """Where the claim is mounted in a worker Pod."""
        return f"{VOLUMES}/{self.claim_name}"


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


class CsvFormat(Model):
    """Comma-separated values after RFC 4180, and its many dialects."""

    delimiter: Annotated[OneCharacter, Field(description="The character between two fields.")] = ","
    quote: Annotated[OneCharacter, Field(description="The character around a field that holds a delimiter.")] = '"'
    escape: Annotated[OneCharacter, Field(description="The character before a quote inside a quoted field.")] = '"'
    header: Annotated[
        bool, Field(description="Whether the first line names the columns; without, they are column0, column1, …")
    ] = True
    null_values: Annotated[
        list[ShortText],
        Field(max_length=32, description="Unquoted texts that stand for no value, in every column."),
    ] = [""]

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        if self.delimiter in (self.quote, self.escape):
            raise ValueError("delimiter must differ from quote and escape")
        return self


class JsonFormat(Model):
    """JSON lines: one object a line, https://jsonlines.org."""

    lines: Annotated[Literal[True], Field(description="One JSON object a line; the only layout there is so far.")] = (
        True
    )


class ParquetFormat(Model):
    """Apache Parquet, which carries its own schema and compression."""


class Format(OneOf):
    """The file format; exactly one member."""

    csv: Annotated[CsvFormat | None, Field(description="Comma-separated values and their dialects.")] = None
    json_: Annotated[JsonFormat | None, Field(alias="json", description="JSON, one object a line.")] = None
    parquet: Annotated[ParquetFormat | None, Field(description="Apache Parquet.")] = None


class Located(Model):
    """A place that a URL names, with the claim that holds it where the URL is `file://`."""

    url: Url
    volume: Annotated[
        Volume | None,
        Field(description="The claim that holds the files of a file:// URL; the URL must lie beneath it."),
    ] = None
    endpoint_url: Annotated[
        Url | None,
        Field(
            pattern=_ENDPOINT,
            json_schema_extra={"pattern": _ENDPOINT},
            description="Where an S3-compatible server answers, for s3:// URLs on other servers than AWS; "
            "for instance http://minio:9000.",
        ),
    ] = None

    @property
    def scheme(self) -> str:
        """What stands before `://`, in lower case."""
        return self.url.partition("://")[0].lower()

    @model_validator(mode="after")
    def _volume_goes_with_file(self) -> Self:
        if self.scheme == "file":
            if self.volume is None:
                raise ValueError("a file:// url needs volume: {claimName}, the claim that holds the files")
            path = self.url.removeprefix("file://")
            if ".." in path.split("/") or not f"{path}/".startswith(f"{self.volume.mount_path}/"):
                raise ValueError(f"a file:// url must lie beneath its volume: file://{self.volume.mount_path}/…")
        elif self.volume is not None:
            raise ValueError(f"volume goes with a file:// url, not with {self.scheme}://")
        if self.endpoint_url is not None and self.scheme != "s3":
            raise ValueError("endpointUrl goes with an s3:// url")
        return self
