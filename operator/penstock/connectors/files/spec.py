"""Files: what Sources and Destinations say of the place, the format and the compression of files."""

import posixpath
import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from penstock.language import paths
from penstock.language.certificates import CA_BUNDLE, CaBundle
from penstock.language.model import Model, OneOf
from penstock.language.scalars import OneCharacter, ShortText, Url
from penstock.language.traits import ConnectorSpec, DeliveryPlace, Traits
from penstock.language.volumes import Volume

_ENDPOINT = r"^https?://[^/?#@]+(/[^?#]*)?$"
_READABLE = r"^(file://|(https?|s3|gs|az|sftp)://[^/?#@]+)(/[^?#]*)?$"
_AUTHORITY = re.compile(
    r"([A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])"
    r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
)
_HOST = r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$"
_FOLDER = r"^(file://|(s3|gs|az|sftp)://[^/?#@]+)/([^?#]*/)?$"
_BUCKETS = ("s3", "gs", "az")
"""Schemes whose URL begins with the name of a bucket or container."""
_AUTH: Mapping[str, tuple[str, ...]] = {
    "s3": ("aws",), "gs": ("googleServiceAccount",), "az": ("azure",), "sftp": ("ssh",),
    "http": ("basic", "bearer", "apiKey"), "https": ("basic", "bearer", "apiKey"),
}  # fmt: skip
"""The members of `auth` that go with a URL, by its scheme; none with the others."""
_READ_ONLY = ("http", "https")
_WRITING_AUTH = tuple(member for scheme, members in _AUTH.items() for member in members if scheme not in _READ_ONLY)
_READING_AUTH = tuple(dict.fromkeys(member for members in _AUTH.values() for member in members))
_RECORDS = r"^\$.*\[\*\]$"

Compression = Literal["none", "gzip", "zstd"]
Encoding = Literal[
    "utf-8", "utf-16", "utf-16le", "utf-16be", "ascii", "latin-1", "iso-8859-1", "iso-8859-2", "iso-8859-3",
    "iso-8859-4", "iso-8859-5", "iso-8859-6", "iso-8859-7", "iso-8859-8", "iso-8859-9", "iso-8859-10", "iso-8859-13",
    "iso-8859-14", "iso-8859-15", "iso-8859-16", "windows-874", "windows-1250", "windows-1251", "windows-1252",
    "windows-1253", "windows-1254", "windows-1255", "windows-1256", "windows-1257", "windows-1258", "koi8-r", "koi8-u",
    "ibm437", "ibm850", "ibm852", "ibm866", "gbk", "gb18030", "euc-kr", "euc-jp", "shift_jis",
]  # fmt: skip
"""Encodings that give back the very bytes that they decode, by their IANA names, and latin-1."""

_SOURCE_NOTES = (
    "`s3://`: each read of an object requires that its ETag is still the one that was listed (If-Match).",
    "`gs://`: an object is read in the generation that was listed, so a run never reads two versions of an object.",
    "`az://`: each read of a blob requires that its ETag is still the one that was listed (If-Match).",
    "`sftp://`: the protocol has no versions. A file has changed if its size or its modification time, in whole "
    "seconds, is different. This is checked when the file is opened and at its end; if it has changed, the run fails. "
    "Upload files under a temporary name, such as one that begins with a dot, and rename them when they are complete.",
    "`sftp://`: symbolic links on the server are not followed, and the server's host key must be one of "
    "`auth.ssh.knownHosts`.",
)
_DESTINATION_NOTES = (
    "`s3://`: the manifest is written only if it does not exist (If-None-Match). If a server ignores this condition, "
    "two workers of one run can both write it.",
    "`gs://`: the manifest is written only if it does not exist (ifGenerationMatch=0).",
    "`az://`: the manifest is written only if it does not exist (If-None-Match).",
    "`sftp://`: each file is written under a name that begins with a dot, and then renamed. The manifest gets its "
    "name by a hard link (hardlink@openssh.com) if the server supports it, otherwise by the protocol's rename, which "
    "must fail if the name exists. On a server without posix-rename@openssh.com, manifest.json is missing for a "
    "moment while it is replaced; manifest-<run>.json is never replaced.",
)


class CsvFormat(Model):
    """Comma-separated values after RFC 4180, and its many dialects."""

    delimiter: Annotated[OneCharacter, Field(description="The character between two fields.")] = ","
    quote: Annotated[OneCharacter, Field(description="The character around a field that holds a delimiter.")] = '"'
    escape: Annotated[
        OneCharacter,
        Field(
            description="The character that escapes a quote inside a quoted field. Outside quotes it has no meaning; "
            "see docs/textfiles.md for the settings of MySQL, PostgreSQL and Spark."
        ),
    ] = '"'
    header: Annotated[
        bool,
        Field(
            description="Whether the first line has the names of the columns. Without it, the columns of a file "
            "that is read are named column0, column1, …"
        ),
    ] = True
    null_values: Annotated[
        list[ShortText],
        Field(max_length=32, description="Unquoted texts that are read as null. A delivery writes the first of them."),
    ] = [""]

    encoding: Annotated[
        Encoding | None,
        Field(
            description="For files that are read: their text encoding, by its IANA name. utf-16 needs a byte order "
            "mark; utf-16le and utf-16be do not. Default: utf-8."
        ),
    ] = None
    skip_lines: Annotated[
        int | None,
        Field(
            ge=0,
            le=10_000,
            description="For files that are read: how many lines to skip before the header, or before the first row if "
            "there is no header. Default: 0.",
        ),
    ] = None
    decimal: Annotated[
        Literal[".", ","] | None,
        Field(
            description="For files that are read: the decimal separator, for fields of a number type and for casts "
            "to one. A string is not changed. Default: a point."
        ),
    ] = None
    thousands: Annotated[
        Literal[".", ",", " ", "'", "_", "\u00a0", "\u202f", "\u2019"] | None,
        Field(
            description="For files that are read: the thousands separator, as in 1.234.567. Numbers without it are "
            "read too. Default: none."
        ),
    ] = None

    escape_formulas: Annotated[
        bool | None,
        Field(
            description="For delivered files: write an apostrophe before each text that a spreadsheet could execute "
            "as a formula: one that begins with =, +, -, @, a tab or a line end. This changes the text. Default: "
            "false."
        ),
    ] = None

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        if self.delimiter in (self.quote, self.escape):
            raise ValueError("delimiter must differ from quote and escape")
        if self.thousands == (self.decimal or "."):
            raise ValueError("thousands must differ from decimal, which is a point by default")
        return self

    @property
    def for_reading(self) -> str | None:
        """The name of an option that is set and has a meaning for files that are read alone; None without any."""
        options = {
            "encoding": self.encoding,
            "skipLines": self.skip_lines,
            "decimal": self.decimal,
            "thousands": self.thousands,
        }
        return next((name for name, value in options.items() if value is not None), None)


class JsonFormat(Model):
    """JSON lines, one object a line (https://jsonlines.org), or a JSON document that holds a list of objects."""

    lines: Annotated[
        bool,
        Field(
            description="true: each line is one JSON object. false: the file is one JSON document, and its rows are "
            "the elements of a list: of the document itself, or of the list that `records` selects. Delivered files "
            "always have lines."
        ),
    ] = True
    records: Annotated[
        str | None,
        Field(
            min_length=4,
            max_length=512,
            pattern=_RECORDS,
            description="For files that are read: the list whose elements are the rows, as a path from the document or "
            "line, for instance $.orders[*].lines[*]. Default: the document itself, $[*]; with lines, each line is one "
            "row. See docs/nested.md.",
        ),
    ] = None

    @field_validator("records")
    @classmethod
    def _is_a_path(cls, records: str | None) -> str | None:
        if records is not None:
            paths.records(records)
        return records


class ParquetFormat(Model):
    """Apache Parquet, which carries its own schema and compression."""


class ExcelFormat(Model):
    """One sheet of an Excel workbook (.xlsx or .xlsm)."""

    sheet: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=128,
            description="The name of the sheet to read, in any case. Default: the first worksheet that is not hidden.",
        ),
    ] = None
    header: Annotated[
        bool,
        Field(
            description="Whether the first row that is not empty has the names of the columns. Without it, the columns "
            "are named A, B, …, as in the sheet."
        ),
    ] = True
    skip_rows: Annotated[
        int | None,
        Field(
            ge=0,
            le=10_000,
            description="How many rows of the sheet to skip before the header, or before the first row if there is no "
            "header; empty rows count. Default: 0.",
        ),
    ] = None
    epoch: Annotated[
        Literal["1900", "1904"] | None,
        Field(
            description="The date system of the workbook: whether day 1 is 1 January 1900, or day 0 is 1 January 1904. "
            "Set it if a program has lost the setting of the workbook. Default: what the workbook says."
        ),
    ] = None
    null_values: Annotated[
        list[ShortText],
        Field(
            max_length=32,
            description="Texts, and errors such as #N/A, that are read as null. An error that is not listed is no "
            "value of any type.",
        ),
    ] = []


class Format(OneOf):
    """The file format; exactly one member."""

    csv: Annotated[CsvFormat | None, Field(description="CSV; the delimiter can be changed.")] = None
    json_: Annotated[JsonFormat | None, Field(alias="json", description="JSON lines, or a JSON document.")] = None
    parquet: Annotated[ParquetFormat | None, Field(description="Apache Parquet.")] = None
    excel: Annotated[
        ExcelFormat | None, Field(description="One sheet of an Excel workbook (.xlsx, .xlsm); for files that are read.")
    ] = None


class Located(ConnectorSpec):
    """A place that a URL names, with the claim that holds it where the URL is `file://`."""

    url: Url
    volume: Annotated[
        Volume | None,
        Field(description="The PersistentVolumeClaim of a file:// URL. The URL must be in it."),
    ] = None
    endpoint_url: Annotated[
        Url | None,
        Field(
            pattern=_ENDPOINT,
            json_schema_extra={"pattern": _ENDPOINT},
            description="Address of the server, for instance http://minio:9000 or "
            "https://myaccount.blob.core.windows.net. For s3:// URLs that are not on AWS, gs:// URLs that are not on "
            "Google Cloud, and az:// URLs without auth.",
        ),
    ] = None

    ca_bundle: Annotated[
        CaBundle | None,
        Field(description=f"{CA_BUNDLE} For servers that are reached by https."),
    ] = None

    @property
    def config_maps(self) -> tuple[str, ...]:
        return () if self.ca_bundle is None else (self.ca_bundle.config_map_ref.name,)

    @property
    def scheme(self) -> str:
        """What stands before `://`, in lower case."""
        return self.url.partition("://")[0].lower()

    @property
    def location(self) -> str:
        return self.url

    @property
    def claims(self) -> tuple[str, ...]:
        return () if self.volume is None else (self.volume.claim_name,)

    def auth_fault(self, member: str | None) -> str | None:
        if member is None and self.scheme == "sftp":
            return "an sftp:// url needs auth.ssh: a Secret with the login, and knownHosts"
        if member is None and self.scheme == "az" and self.endpoint_url is None:
            return (
                "an az:// url needs auth.azure, or the account in endpointUrl: https://<account>.blob.core.windows.net"
            )
        fault = super().auth_fault(member)
        if fault is not None or member is None or member in _AUTH.get(self.scheme, ()):
            return fault
        schemes = [f"{scheme}://" for scheme, members in _AUTH.items() if member in members]
        return f"auth.{member} goes with a url that begins with {' or '.join(schemes)}, not with {self.scheme}://"

    def delivery_place(self, suffix: str | None, table: str | None, namespace: str) -> DeliveryPlace | None:
        """The folder of the deliveries. A `file://` URL is that of a claim, and claims belong to a namespace."""
        del table
        suffix = (suffix or "").strip("/")
        folder = f"{self.url}{suffix}/" if suffix else self.url
        if self.scheme == "file":
            folder = f"file://{posixpath.normpath(folder.removeprefix('file://'))}/"
            return DeliveryPlace("folder", folder, namespace)
        return DeliveryPlace("folder", folder, self.endpoint_url or "")

    @model_validator(mode="after")
    def _names_a_path_at_its_server(self) -> Self:
        if self.scheme != "sftp":
            return self
        host, slash, path = self.url.partition("://")[2].partition("/")
        if not slash:
            raise ValueError(f"{self.url} names a server and no file; for all that is there, end it in /: {self.url}/")
        if ".." in path.split("/"):
            raise ValueError("an sftp:// url has no .. in its path")
        if not _AUTHORITY.fullmatch(host):
            raise ValueError(f"{host} is no host, or host and port, for instance sftp.example.com:2222")
        return self

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
        if self.endpoint_url is not None and self.scheme not in _BUCKETS:
            raise ValueError("endpointUrl goes with an s3://, gs:// or az:// url")
        if self.ca_bundle is not None:
            check_encrypted(self.scheme, self.endpoint_url)
        return self


class Redirects(Model):
    """Where a web server may send a request on to."""

    hosts: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=253, pattern=_HOST)]],
        Field(
            max_length=16,
            description="Names of other hosts to which redirects are followed. Redirects to the same host are "
            "always followed. Redirects from https to http, to the node itself and to link-local addresses are "
            "never followed.",
        ),
    ] = []


class FilesSource(Located):
    """Files under a URL."""

    traits: ClassVar[Traits] = Traits(
        title="Files",
        description="Files in a folder, on a web server or in a bucket.",
        source="penstock.connectors.files.source:FilesSource",
        auth=_READING_AUTH,
        streams="one",
        sync=("full", "incremental"),
        notes=_SOURCE_NOTES,
        example="examples/01-quickstart",
    )

    url: Annotated[
        Url,
        Field(
            pattern=_READABLE,
            json_schema_extra={"pattern": _READABLE},
            description="Where the files are: file:///volumes/<claimName>/…, http(s)://…, "
            "s3://bucket/prefix/, gs://bucket/prefix/, az://container/prefix/ or "
            "sftp://host:port/folder/. "
            "A URL that ends in / is a folder; any other is one file.",
        ),
    ]
    glob: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=512,
            description="Which files under a folder URL to read, as a glob: `*` matches within one folder, `**` alone "
            "between slashes matches any folders. Default: every file. Not for http(s)://, which cannot list files.",
        ),
    ] = None
    format: Annotated[Format, Field(description="The format of every file.")]
    compression: Annotated[
        Literal["auto", "none", "gzip", "bzip2", "xz", "zstd", "zip", "snappy"],
        Field(
            description="How files are compressed. auto detects it from the first bytes of each file, not from its "
            "name. A zip archive must contain exactly one file. snappy is its framing format or "
            "that of Hadoop."
        ),
    ] = "auto"
    ignore: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=128)]],
        Field(
            max_length=16,
            description="Files and folders under a folder URL to leave out, as globs that match one name. The default "
            "leaves out what Spark and Hive ignore, such as _SUCCESS and .part-00000.crc.",
        ),
    ] = ["_*", ".*"]
    redirects: Annotated[
        Redirects | None,
        Field(
            description="To which hosts redirects of an http(s):// server are followed. Default: only the same host."
        ),
    ] = None

    @model_validator(mode="after")
    def _formulas_are_escaped_in_delivered_files(self) -> Self:
        if self.format.csv is not None and self.format.csv.escape_formulas is not None:
            raise ValueError("csv.escapeFormulas is for delivered files; leave it out of a Source")
        return self

    @model_validator(mode="after")
    def _redirects_go_with_a_web_server(self) -> Self:
        if self.redirects is not None and self.scheme not in ("http", "https"):
            raise ValueError("redirects go with an http(s):// url")
        return self

    @model_validator(mode="after")
    def _glob_goes_with_a_folder(self) -> Self:
        folder = self.url.endswith("/")
        if "*" in self.url and self.scheme not in ("http", "https"):
            beginning, _, _ = self.url.partition("*")
            before = beginning[: beginning.rindex("/") + 1]
            pattern = f"{self.url[len(before) :]}{self.glob or ('*' if folder else '')}"
            raise ValueError(f'a url has no pattern; set url: {before} and glob: "{pattern}"')
        if self.glob is not None and not folder:
            raise ValueError("glob goes with a url that ends in /")
        if self.scheme in _BUCKETS and "/" not in self.url.partition("://")[2]:
            raise ValueError(
                f"{self.url} names a bucket or container and no file; for all that is in it, end it in /: {self.url}/"
            )
        if folder and self.scheme in ("http", "https"):
            raise ValueError("an http(s) server cannot list files; name one file in url")
        if self.format.parquet is not None and self.compression not in ("auto", "none"):
            raise ValueError("parquet files compress their pages themselves; leave compression out")
        if self.format.excel is not None and self.compression not in ("auto", "none"):
            raise ValueError("an Excel workbook is compressed in itself; leave compression out")
        return self


class FilesDestination(Located):
    """A folder or bucket that Subscriptions deliver files to."""

    traits: ClassVar[Traits] = Traits(
        title="Files",
        description="Files that Subscriptions deliver.",
        target="penstock.connectors.files.target:FilesTarget",
        receives="files",
        auth=_WRITING_AUTH,
        guarantee="Exactly once for readers that read what a manifest names: the manifest is written last.",
        notes=_DESTINATION_NOTES,
        example="examples/01-quickstart",
    )

    url: Annotated[
        Url,
        Field(
            pattern=_FOLDER,
            json_schema_extra={"pattern": _FOLDER},
            description="The folder that receives files: file:///volumes/<claimName>/…/, s3://bucket/prefix/, "
            "gs://bucket/prefix/, az://container/prefix/ or sftp://host:port/folder/. It ends in /.",
        ),
    ]
    format: Annotated[
        Format, Field(description="The format of delivered files; a Subscription may choose another. Default: parquet.")
    ] = Format.model_validate({"parquet": {}})
    compression: Annotated[
        Compression, Field(description="How delivered CSV and JSON files are compressed; Parquet compresses itself.")
    ] = "none"

    @model_validator(mode="after")
    def _options_are_those_of_writing(self) -> Self:
        check_delivered(self.format)
        return self


def check_encrypted(scheme: str, endpoint: str | None) -> None:
    """Raise ValueError where the place is reached without TLS, so that a caBundle has no use."""
    if scheme not in ("https", *_BUCKETS):
        raise ValueError(f"caBundle goes with a server that is reached by https, not with {scheme}://")
    if endpoint is not None and not endpoint.lower().startswith("https://"):
        raise ValueError("caBundle needs an endpointUrl that begins with https://")


def check_delivered(form: Format) -> None:
    """Raise ValueError where the format, or an option of it, is for files that are read."""
    if form.excel is not None:
        raise ValueError("excel is for files that are read; deliver csv, json or parquet")
    if form.csv is not None and (option := form.csv.for_reading) is not None:
        raise ValueError(f"csv.{option} is for files that are read; leave it out of a delivery")
    if form.json_ is not None and not (form.json_.lines and form.json_.records is None):
        raise ValueError("json is delivered as lines; leave lines and records out of a delivery")


SOURCE = FilesSource
DESTINATION = FilesDestination
