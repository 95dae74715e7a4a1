"""Other encodings than UTF-8: what Python's own decoder says, and the very bytes again in the payload."""

import base64
import random
from typing import Literal, get_args

import pytest

from penstock.connectors.files.formats import charsets
from penstock.connectors.files.spec import Encoding
from penstock.language.errors import InvalidSpec

OTHERS = [name for name in get_args(Encoding) if not name.startswith("utf-")]
PYTHON = {"windows-874": "cp874"}


def read(content: bytes, encoding: Encoding, size: int = 3) -> tuple[charsets.Charset, bytes]:
    pieces = iter([content[at : at + size] for at in range(0, len(content), size)])
    charset, blocks = charsets.text(pieces, encoding, "a.csv")
    return charset, b"".join(blocks)


def original(charset: charsets.Charset, text: bytes) -> bytes:
    payload, encoding = charset.payload(text)
    return base64.b64decode(payload) if encoding == "base64" else payload.encode()


@pytest.mark.parametrize("encoding", OTHERS)
def test_every_encoding_reads_as_python_does_and_gives_its_bytes_back(encoding: Encoding) -> None:
    chance = random.Random(encoding)
    for _ in range(300):
        content = b"a" + bytes(chance.randrange(256) for _ in range(chance.randrange(12)))
        charset, text = read(content, encoding, chance.randrange(1, 5))
        expected = content.decode(PYTHON.get(encoding, encoding), "surrogateescape")
        assert text.decode("utf-8", "surrogatepass") == expected
        assert original(charset, text) == content


@pytest.mark.parametrize("encoding", OTHERS)
def test_every_encoding_has_ascii_where_it_is(encoding: Encoding) -> None:
    """Delimiters, quotes and line ends are looked for after decoding."""
    content = bytes(range(1, 128))
    assert read(content, encoding)[1] == content


@pytest.mark.parametrize("encoding", ["utf-16le", "utf-16be"])
def test_utf16_gives_its_bytes_back_half_characters_included(encoding: Encoding) -> None:
    chance = random.Random(encoding)
    units = [0x41, 0xE9, 0x20AC, 0xD83D, 0xDE00, 0xD800, 0xDFFF, 0xA]
    for _ in range(300):
        order: Literal["little", "big"] = "little" if encoding.endswith("le") else "big"
        content = b"".join(chance.choice(units).to_bytes(2, order) for _ in range(chance.randrange(9)))
        charset, text = read(b"a\0"[:: 1 if order == "little" else -1] + content, encoding, chance.randrange(1, 5))
        assert original(charset, text)[2:] == content
        assert text.decode("utf-8", "surrogatepass")[1:] == content.decode(encoding, "surrogatepass")


@pytest.mark.parametrize("mark", ["utf-16le", "utf-16be"])
def test_the_byte_order_mark_decides_about_utf16(mark: str) -> None:
    charset, text = read("\ufeffé,b".encode(mark), "utf-16")
    assert (charset.name, text) == (mark, "é,b".encode())


@pytest.mark.parametrize(
    ("content", "encoding", "words"),
    [
        (b"a\0,\0", "utf-16", "no byte order mark"),
        (b"\xff\xfea\0", "utf-8", "Set format.csv.encoding: utf-16."),
        (b"\xff\xfea\0", "latin-1", "Set format.csv.encoding: utf-16."),
        (b"\xef\xbb\xbfa", "windows-1252", "Set format.csv.encoding: utf-8."),
        (b"\xff\xfe\0\0a\0\0\0", "utf-16", "UTF-32"),
        (b"\xff\xfea\0b", "utf-16", "middle of a character"),
    ],
)
def test_a_text_that_cannot_be_of_the_encoding_is_refused(content: bytes, encoding: Encoding, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        read(content, encoding)
