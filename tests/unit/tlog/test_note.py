"""Signed notes: readable by others, and not one byte can change unnoticed."""

import base64

import pytest

from ostiary.errors import ConfigurationError, IntegrityError
from ostiary.tlog.note import NoteSigner, VerifierKey, decode_base64, is_key_name, open_note

NAME = "ostiary.invalid/log/test"
SIGNER = NoteSigner.from_seed(NAME, bytes(range(32)))
KEY = SIGNER.verifier_key
TEXT = "one\n\n\N{EM DASH} not a signature\n\nlast line: \N{GREEK SMALL LETTER ALPHA}\n"

# The key of the public Go checksum database and a tree head that it signed.
GO_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
GO_TEXT = "go.sum database tree\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
GO_SIGNATURE = (
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8="
)


def test_a_note_of_the_go_checksum_database_is_read():
    key = VerifierKey.parse(GO_KEY)
    assert str(key) == GO_KEY
    note = f"{GO_TEXT}\n\N{EM DASH} sum.golang.org {GO_SIGNATURE}\n".encode()
    assert open_note(note, key) == GO_TEXT


def test_a_signed_text_is_read_back_with_its_empty_lines():
    assert open_note(SIGNER.sign(TEXT), KEY) == TEXT


def test_changing_any_byte_of_a_note_is_noticed():
    note = SIGNER.sign(TEXT)
    for position in range(len(note)):
        for change in (1, 2, 0x20, 0x80):
            damaged = bytearray(note)
            damaged[position] ^= change
            with pytest.raises(IntegrityError):
                open_note(bytes(damaged), KEY)


def test_taking_away_or_adding_a_byte_is_noticed():
    note = SIGNER.sign(TEXT)
    for position in range(len(note) + 1):
        shorter, longer = note[:position], note[:position] + b"\n" + note[position:]
        for damaged in (shorter, longer) if position < len(note) else (longer,):
            with pytest.raises(IntegrityError):
                open_note(damaged, KEY)


def test_another_key_of_the_same_name_signs_nothing():
    other = NoteSigner.from_seed(NAME, bytes(32))
    with pytest.raises(IntegrityError, match="another key"):
        open_note(other.sign(TEXT), KEY)


def test_a_second_signature_line_is_refused():
    note = SIGNER.sign(TEXT)
    with pytest.raises(IntegrityError):
        open_note(note + note.splitlines(keepends=True)[-1], KEY)


@pytest.mark.parametrize("text", ["no newline", "", "tab\there\n", "null\0\n"])
def test_a_text_that_no_note_can_carry_is_not_signed(text):
    with pytest.raises(ValueError, match="note"):
        SIGNER.sign(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\N{NO-BREAK SPACE}b", "a\x01"])
def test_a_name_that_no_note_can_carry_is_refused(name):
    assert not is_key_name(name)
    with pytest.raises(ConfigurationError):
        NoteSigner.from_seed(name, bytes(32))


def damaged_keys():
    name, key_id, blob = str(KEY).split("+", 2)
    raw = base64.b64decode(blob)
    cosigner = base64.b64encode(b"\x04" + raw[1:]).decode()
    short = base64.b64encode(raw[:-1]).decode()
    return [
        "",
        name,
        f"{name}+{key_id}",
        f"+{key_id}+{blob}",
        f"{name} +{key_id}+{blob}",
        f"{name}+00000000+{blob}",
        f"{name}+{key_id.upper()}+{blob}",
        f"{name}+{key_id}+{blob}=",
        f"{name}+{key_id}+{blob} ",
        f"{name}+{key_id}+{cosigner}",
        f"{name}+{key_id}+{short}",
    ]


@pytest.mark.parametrize("text", damaged_keys())
def test_a_verifier_key_has_one_spelling(text):
    with pytest.raises(ConfigurationError):
        VerifierKey.parse(text)


@pytest.mark.parametrize(
    "text", ["QQ", "QQ=", "QR==", "Q Q==", "QQ==\n", "Q-==", "\N{CYRILLIC SMALL LETTER A}"]
)
def test_base64_has_one_spelling(text):
    with pytest.raises(IntegrityError):
        decode_base64(text)


def test_a_signer_shows_no_private_key():
    assert "private" not in repr(SIGNER)
