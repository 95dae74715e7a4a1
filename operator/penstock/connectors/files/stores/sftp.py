"""Files at an SFTP server, whose host key must be one that the manifest names.

The protocol has no versions and no conditional writes. A file counts as another one when its modification time, in
seconds, or its size is another. Files appear whole, by a rename; a manifest takes its name by a hard link where the
server can make one, else by the protocol's plain rename, which fails when the name is taken.
"""

import asyncio
import logging
import secrets
import stat
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import urlsplit

import asyncssh
from fsspec.asyn import sync
from sshfs.spec import SSHFileSystem

from penstock.connectors.files.stores import addresses
from penstock.connectors.files.stores.credentials import SecretKeys
from penstock.connectors.files.stores.globs import matcher
from penstock.connectors.files.stores.port import StoredFile, gone, trouble, unreachable
from penstock.connectors.files.stores.ranges import RangeStream
from penstock.language.conditions import Reason
from penstock.language.errors import InvalidSpec, NotYet

_PORT = 22
_CONNECT_SECONDS = 15
_MISSING = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)
_FULL = (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded)
_LOST = (asyncssh.DisconnectError, asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection)
T = TypeVar("T")
logging.getLogger("asyncssh").setLevel(logging.CRITICAL)  # it logs what it raises as well


@dataclass(frozen=True)
class Login:
    """Who logs in and how, never shown, the name of the Secret that it comes from, and the accepted host keys."""

    source: str
    user: str
    known_hosts: str
    password: str | None = field(repr=False)
    key: Any = field(repr=False)


def login_of(keys: SecretKeys, known_hosts: str) -> Login:
    """The login that the Secret describes. Raises InvalidSpec (SecretMissing, WrongCredentials)."""
    user = keys.required("username")
    password, text = keys.optional("password"), keys.optional("ssh-privatekey")
    if password is None and text is None:
        message = f'{keys.subject}: Secret {keys.name} has neither "ssh-privatekey" nor "password". Add one of them.'
        raise InvalidSpec(message, "SecretMissing")
    key = _private_key(keys, text) if text is not None else None
    return Login(keys.name, user, known_hosts, password, key)


def _private_key(keys: SecretKeys, text: str) -> Any:
    try:
        return asyncssh.import_private_key(text, keys.optional("passphrase"))
    except asyncssh.KeyEncryptionError:
        message = f'{keys.subject}: "passphrase" in Secret {keys.name} does not open its "ssh-privatekey". Correct it.'
    except asyncssh.KeyImportError as error:
        encrypted = "passphrase" in str(error).lower()
        what = 'is encrypted; add its "passphrase"' if encrypted else "is no private key of OpenSSH, PEM or PKCS 8"
        message = f'{keys.subject}: "ssh-privatekey" in Secret {keys.name} {what}.'
    raise InvalidSpec(message, "WrongCredentials")


class SftpServer:
    """A folder at an SFTP server, or one file in it."""

    def __init__(
        self,
        url: str,
        login: Login,
        subject: str,
        ignore: Sequence[str] = (),
        look_up: addresses.LookUp = addresses.system,
    ) -> None:
        self.url, self._login, self._subject, self._ignore, self._look_up = url, login, subject, ignore, look_up
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port or _PORT
        self._server = f"{address.scheme}://{address.netloc}"
        self._files: Any = None
        self._client: Any = None

    def _path(self, url: str) -> str:
        return url.removeprefix(self._server)

    def _connected(self) -> asyncssh.SFTPClient:
        """The client, connected at its first use. Nothing of this machine is used: no agent, no key, no file."""
        if self._client is None:
            login = self._login
            place = addresses.connected(self._host, self._port, self._subject, _CONNECT_SECONDS, self._look_up)
            self._files = SSHFileSystem(
                self._host,
                port=self._port,
                sock=place,
                username=login.user,
                password=login.password,
                client_keys=None if login.key is None else [login.key],
                known_hosts=asyncssh.import_known_hosts(login.known_hosts),
                config=None,
                agent_path=None,
                connect_timeout=_CONNECT_SECONDS,
                login_timeout=30,
                keepalive_interval=15,
                keepalive_count_max=4,
                skip_instance_cache=True,
            )
            self._client = self._run(partial(self._files.client.start_sftp_client, path_errors="surrogateescape"))
        return cast(asyncssh.SFTPClient, self._client)

    def _run(self, work: Callable[[], Awaitable[T]]) -> T:
        return cast(T, sync(self._files.loop, work))

    def _translate(self, url: str, error: Exception) -> InvalidSpec | NotYet | None:
        """What the server's refusals and the client's own mean."""
        if (mistake := self._mistake(url, error)) is not None:
            return mistake
        if isinstance(error, _FULL):
            return NotYet(f"{self._subject}: no space is left at {url}. Free some space.", "StorageFull")
        if isinstance(error, _LOST) or (isinstance(error, OSError) and not isinstance(error, TimeoutError)):
            return unreachable(self._subject, url, self._server, error)
        if isinstance(error, asyncssh.Error):
            message = f"{self._subject}: {url}: the server does not do what it was asked, and says: {error.reason}."
            return NotYet(message, "Unreachable")
        return None

    def _is_cut(self) -> bool:
        """Whether the connection has ended, which asyncssh also says in the words of a refused channel."""
        return self._files is None or bool(self._files.client.is_closed())

    def _mistake(self, url: str, error: Exception) -> InvalidSpec | None:
        """What the user must change, None where the error is of another kind."""
        user, server = self._login.user, self._server
        reason: Reason
        cause = error.__cause__ if isinstance(error, PermissionError | FileNotFoundError) else error
        match cause:
            case asyncssh.HostKeyNotVerifiable():
                reason, what = "WrongSpecification", f"the host key of {server} is not one of auth.ssh.knownHosts"
                remedy = "Compare it with the one that the server's owner names; if that one is right, add it"
            case asyncssh.PermissionDenied() | asyncssh.IllegalUserName():
                reason, what = "WrongCredentials", f"{server} does not let in user {user}"
                remedy = f"Check username, and ssh-privatekey or password, in Secret {self._login.source}"
            case asyncssh.KeyExchangeFailed():
                reason, what = "WrongSpecification", f"{server} offers no algorithm that is considered safe"
                remedy = "Ask the server's owner to update it"
            case asyncssh.ChannelOpenError() if not self._is_cut():
                reason, what = "WrongSpecification", f"{server} has no SFTP for user {user}"
                remedy = "Ask the server's owner to enable it"
            case asyncssh.SFTPPermissionDenied() | asyncssh.SFTPWriteProtect():
                reason, what = "WrongCredentials", f"user {user} has no permission for {url}"
                remedy = "Check the permissions there"
            case asyncssh.SFTPNoSuchFile() | asyncssh.SFTPNoSuchPath():
                reason, what, remedy = "ResourceNotFound", f"{url} does not exist", "Check the URL"
            case _:
                return None
        return InvalidSpec(f"{self._subject}: {what}. {remedy}.", reason)

    def list_files(self, pattern: str | None) -> list[StoredFile]:
        """The regular files beneath the folder that fit, sorted by URL; or the one file. Links are left out."""
        with trouble(self._subject, self.url, partial(self._translate, self.url)):
            client = self._connected()
            if not self.url.endswith("/"):
                return [_stored_file(self.url, self._run(partial(self._one, client)))]
            fits = matcher(pattern, self._ignore)
            listed = self._run(partial(_listed, client, self._path(self.url)))
            files = [(name, attributes) for name, attributes in sorted(listed.items()) if fits(name)]
            for name, _ in files:
                self._check_name(name)
            return [_stored_file(self.url + name, attributes) for name, attributes in files]

    def _check_name(self, name: str) -> None:
        try:
            name.encode()
        except UnicodeEncodeError:
            shown = name.encode(errors="backslashreplace").decode()
            message = f"{self._subject}: the name {shown} beneath {self.url} is not UTF-8. Rename the file."
            raise InvalidSpec(message, "WrongSpecification") from None

    async def _one(self, client: asyncssh.SFTPClient) -> asyncssh.SFTPAttrs:
        """The attributes of the one file. Raises InvalidSpec where the URL names something else."""
        attributes = await client.lstat(self._path(self.url))
        mode = attributes.permissions or 0
        if stat.S_ISREG(mode):
            return attributes
        message = f"{self._subject}: {self.url} is no regular file. Name a file."
        if stat.S_ISDIR(mode):
            message = f"{self._subject}: {self.url} is a folder. End the URL with a slash: {self.url}/"
        if stat.S_ISLNK(mode):
            message = f"{self._subject}: {self.url} is a link, and links are not followed. Name the file itself."
        raise InvalidSpec(message, "WrongSpecification")

    def open(self, stored: StoredFile) -> BinaryIO:
        """The content, or InvalidSpec when it is no longer what was listed, also at its end."""
        translate = partial(self._translate, stored.url)
        with trouble(self._subject, stored.url, translate):
            client = self._connected()
            handle = self._run(partial(self._handle, client, stored))

        def fetch(start: int, end: int) -> bytes:
            with trouble(self._subject, stored.url, translate):
                return self._run(partial(self._read, handle, stored, start, end))

        def close() -> None:
            with suppress(asyncssh.Error, OSError):
                self._run(handle.close)

        return cast(BinaryIO, RangeStream(self._subject, stored.url, stored.size, fetch, close))

    async def _handle(self, client: asyncssh.SFTPClient, stored: StoredFile) -> asyncssh.SFTPClientFile:
        path = self._path(stored.url)
        try:
            there = await client.lstat(path)
            handle = await client.open(path, "rb", encoding=None)
        except _MISSING:
            raise gone(self._subject, stored.url) from None
        if not stat.S_ISREG(there.permissions or 0) or _stored_file(stored.url, await handle.stat()) != stored:
            await handle.close()
            raise gone(self._subject, stored.url)
        return handle

    async def _read(self, handle: asyncssh.SFTPClientFile, stored: StoredFile, start: int, end: int) -> bytes:
        block = cast(bytes, await handle.read(end - start, start))
        last = end == stored.size or len(block) < end - start
        if last and _stored_file(stored.url, await handle.stat()) != stored:
            raise gone(self._subject, stored.url)
        return block

    def put(self, name: str, source: Path, *, exclusive: bool = False) -> str:
        """Files appear whole: written under a random name, then renamed, or linked where `exclusive`."""
        url = self.url + name
        with trouble(self._subject, url, partial(self._translate, url)):
            client = self._connected()
            self._run(partial(_put, client, self._path(url), source, exclusive=exclusive))
        return url

    def read(self, name: str) -> bytes | None:
        """A small file, None where there is none."""
        url = self.url + name
        with trouble(self._subject, url, partial(self._translate, url)):
            client = self._connected()
            return self._run(partial(_content, client, self._path(url)))

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        url = self.url + name
        with trouble(self._subject, url, partial(self._translate, url)):
            client = self._connected()
            self._run(partial(_remove, client, self._path(url)))


def _stored_file(url: str, attributes: asyncssh.SFTPAttrs) -> StoredFile:
    size = attributes.size or 0
    return StoredFile(url, f"{attributes.mtime or 0:x}-{size:x}", size)


async def _listed(client: asyncssh.SFTPClient, folder: str) -> dict[str, asyncssh.SFTPAttrs]:
    """The regular files beneath the folder by their path in it. All folders of one depth are read at once."""
    files = dict[str, asyncssh.SFTPAttrs]()
    folders = [""]
    while folders:
        deeper = list[str]()
        listings = await asyncio.gather(*(_entries(client, folder + prefix) for prefix in folders))
        for prefix, entries in zip(folders, listings, strict=True):
            for entry in entries:
                name, mode = prefix + cast(str, entry.filename), entry.attrs.permissions or 0
                if stat.S_ISREG(mode):
                    files[name] = entry.attrs
                elif stat.S_ISDIR(mode) and entry.filename not in (".", ".."):
                    deeper.append(f"{name}/")
        folders = deeper
    return files


async def _entries(client: asyncssh.SFTPClient, path: str) -> list[asyncssh.SFTPName]:
    return [entry async for entry in client.scandir(path)]


async def _put(client: asyncssh.SFTPClient, path: str, source: Path, *, exclusive: bool) -> None:
    folder = path.rpartition("/")[0]
    temporary = f"{folder}/.{secrets.token_hex(16)}.part"
    await client.makedirs(folder or "/", exist_ok=True)
    try:
        await client.put(str(source), temporary)
        await (_take(client, temporary, path) if exclusive else _replace(client, temporary, path))
    finally:
        with suppress(asyncssh.Error):  # it has been renamed, or the connection is gone
            await client.remove(temporary)


async def _take(client: asyncssh.SFTPClient, temporary: str, path: str) -> None:
    """Give the file its name. Raises FileExistsError when the name is taken."""
    try:
        try:
            await client.link(temporary, path)
        except asyncssh.SFTPOpUnsupported:
            await client.rename(temporary, path)
    except (asyncssh.SFTPFailure, asyncssh.SFTPFileAlreadyExists):
        if await client.lexists(path):
            raise FileExistsError(path) from None
        raise


async def _replace(client: asyncssh.SFTPClient, temporary: str, path: str) -> None:
    """Give the file its name, whatever has it. Where the server knows no such rename, the name is free for a moment."""
    try:
        await client.posix_rename(temporary, path)
    except asyncssh.SFTPOpUnsupported:
        await _remove(client, path)
        await client.rename(temporary, path)


async def _content(client: asyncssh.SFTPClient, path: str) -> bytes | None:
    try:
        async with client.open(path, "rb", encoding=None) as handle:
            return cast(bytes, await handle.read())
    except _MISSING:
        return None


async def _remove(client: asyncssh.SFTPClient, path: str) -> None:
    with suppress(*_MISSING):
        await client.remove(path)
