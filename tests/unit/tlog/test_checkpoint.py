"""Checkpoints: three lines, one spelling, one log."""

import base64

import pytest

from ostiary.errors import IntegrityError
from ostiary.tlog.checkpoint import Checkpoint
from ostiary.tlog.note import NoteSigner
from ostiary.tlog.tree import EMPTY_ROOT

SIGNER = NoteSigner.from_seed("ostiary.invalid/log/test", bytes(32))
ROOT = base64.b64encode(EMPTY_ROOT).decode()


def test_a_signed_checkpoint_is_read_back():
    checkpoint = Checkpoint(SIGNER.name, 20852163, bytes(32))
    note = checkpoint.sign(SIGNER)
    assert Checkpoint.open(note, SIGNER.verifier_key) == checkpoint
    assert note.decode().split("\n")[:4] == [SIGNER.name, "20852163", "A" * 43 + "=", ""]


def test_a_key_speaks_for_no_other_log():
    note = Checkpoint("ostiary.invalid/log/other", 0, EMPTY_ROOT).sign(SIGNER)
    with pytest.raises(IntegrityError, match="another log"):
        Checkpoint.open(note, SIGNER.verifier_key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"log\n1\n{ROOT}",
        f"\n1\n{ROOT}\n",
        f"log\n1\n{ROOT}\nextension\n",
        f"log\n01\n{ROOT}\n",
        f"log\n-1\n{ROOT}\n",
        f"log\n+1\n{ROOT}\n",
        f"log\n1 \n{ROOT}\n",
        f"log\n\N{ARABIC-INDIC DIGIT ONE}\n{ROOT}\n",
        f"log\n\N{SUPERSCRIPT TWO}\n{ROOT}\n",
        f"log\n{1 << 63}\n{ROOT}\n",
        f"log\n{'9' * 5000}\n{ROOT}\n",
        "log\n1\nAAAA\n",
        f"log\n1\n{ROOT[:-2]}V=\n",
    ],
)
def test_another_spelling_is_refused(text):
    with pytest.raises(IntegrityError):
        Checkpoint.parse(text)
