"""Nothing that people say, hear or are is readable in the gateway's files or output.

What is looked for are pieces of sixteen characters, at every place of every text, as they are and
in the spellings that programs use by accident: escaped, percent-encoded, hexadecimal, base64 at
each alignment, UTF-16. The gateway's own words (what a home holds before anybody spoke) are known.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from tests.absent import absent
from tests.simulator.client import bearer, chat, send
from tests.simulator.gateway import Gateway, upstream_settings
from tests.simulator.upstream import Upstream, chunks, completion, stream

_ROOT = Path(__file__).resolve().parents[2]
MESSAGES = 200
PIECE = 16
USERS = ["Zebulon Quixworthy", "wilhelmina.frostgate@example.org", "Örjan Kårsholm-Ünlü"]
KEY_NAME = "kestrel orchard ledger bot"
ADDRESSES = ["203.0.113.177", "198.51.100.243", "2001:db8:77aa:91::4d"]
AGENT = "MarmaladeBrowser/7.41 (hedgehog edition)"
REFUSED = "'; DROP TABLE pomegranates_of_zanzibar; --"
FIELD = "zanzibarPomegranateField"


def evaluation() -> Path:
    """The folder of labelled texts; skips where it is missing, fails in CI."""
    path = Path(os.environ.get("OSTIARY_EVAL") or _ROOT.parent / "shared" / "eval")
    if not path.is_dir():
        absent(f"the labelled texts are not at {path}; set OSTIARY_EVAL")
    return path


def messages() -> list[str]:
    """Texts as people write them, half of them with personal data."""
    found = []
    for name in ("benign_chat.jsonl", "pii.jsonl"):
        lines = (evaluation() / name).read_text("utf-8").splitlines()
        texts = [json.loads(line)["text"] for line in lines]
        usable = [text for text in texts if PIECE <= len(text) <= 4_000]
        step = len(usable) // (MESSAGES // 2)
        found += usable[::step][: MESSAGES // 2]
    return found


def spellings(text: str) -> Iterator[tuple[int, bytes]]:
    """The text in every spelling, with how many bytes of it make a telling piece."""
    raw = text.encode()
    yield PIECE, raw
    yield PIECE, json.dumps(text)[1:-1].encode()
    yield PIECE, quote(text).encode()
    yield 2 * PIECE, binascii.hexlify(raw)
    yield 2 * PIECE, binascii.hexlify(raw).upper()
    for little in ("utf-16-le", "utf-16-be"):
        yield 2 * PIECE, text.encode(little)
    for alphabet in (b"+/", b"-_"):
        for shift in range(3):
            coded = base64.b64encode(bytes(shift) + raw, alphabet)
            # The first and the last group hold bits of what stands beside the text.
            yield 2 * PIECE, coded[4:-4]


def pieces(text: bytes, size: int) -> Iterator[bytes]:
    for at in range(len(text) - size + 1):
        yield text[at : at + size]


class Search:
    """Finds pieces of texts, and whole short ones, in whatever it is shown."""

    def __init__(self, texts: Iterable[str], known: Iterable[bytes]) -> None:
        self._pieces: dict[int, set[bytes]] = {}
        self._short: set[bytes] = set()
        for text in texts:
            for size, spelled in spellings(text):
                if len(text) < PIECE + 8:
                    self._short.add(spelled)
                self._pieces.setdefault(size, set()).update(pieces(spelled, size))
        for size, wanted in self._pieces.items():
            for data in known:
                wanted.difference_update(pieces(data, size))
            # Runs of one byte are no text.
            self._pieces[size] = {piece for piece in wanted if len(set(piece)) > 4}

    def found(self, data: bytes) -> list[bytes]:
        """What of the texts is readable in this."""
        whole = [text for text in self._short if len(text) >= 11 and text in data]
        parts = [
            piece
            for size, wanted in self._pieces.items()
            for piece in set(pieces(data, size)) & wanted
        ]
        return (whole + parts)[:5]


@pytest.mark.parametrize("text", ["Write to lucia.rey42, she knows. Ünïcode!", ADDRESSES[0]])
def test_the_search_finds_every_spelling(text):
    search = Search([text], [b"Write to nobody"])
    for _, spelled in spellings(text):
        assert search.found(os.urandom(999) + spelled + os.urandom(999))
        assert search.found(spelled[: len(spelled) - 2] if len(text) > PIECE + 8 else spelled)
    assert search.found(os.urandom(100_000)) == []


def test_the_gateways_own_words_are_not_taken_for_ours():
    text = "a sentence that was there before anybody spoke"
    assert Search([text], [text.encode()]).found(b"x" + text.encode()) == []


def files(home: Path) -> dict[str, bytes]:
    """Every file of a home."""
    found = {}
    for path in sorted(home.rglob("*")):
        try:
            if path.is_file() and not path.is_symlink():
                found[str(path.relative_to(home))] = path.read_bytes()
        except FileNotFoundError:
            continue  # SQLite's journals come and go
    return found


def speaking():
    """A model that says something else each time, and what it said."""
    said: list[str] = []

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        marks = [uuid.uuid4().hex for _ in range(3)]
        text = f"Gladly! The answer {marks[0]} follows from {marks[1]}; see also {marks[2]} – ö."
        said.append(text)
        if body.get("stream"):
            return await stream(request, chunks(text, 9))
        return web.json_response(completion(text))

    return answer, said


class Talk:
    """Everything that was told to one gateway, by whom and how; and what came back."""

    def __init__(self, gateway: Gateway, said: list[str]) -> None:
        self.gateway = gateway
        self.said = said
        self.messages = messages()
        self.tokens = [gateway.token(user) for user in USERS]
        self.keys = [self._key(token) for token in self.tokens]
        self.statuses: list[int] = []

    def _key(self, token: str) -> str:
        return self._send("/api/keys", {"name": KEY_NAME}, token, ADDRESSES[0]).json()["apiKey"]

    def _send(self, path: str, body: Any, credential: str, address: str, method: str = "POST"):
        headers = {**bearer(credential), "User-Agent": AGENT, "X-Forwarded-For": address}
        return send(self.gateway.url, method, path, body, headers)

    def everything(self) -> None:
        """Send every message through one of the faces, and then what is refused."""
        ways = cycle(
            (path, streamed) for path in ("/api/chat", "/v1/chat/completions")
            for streamed in (False, True)
        )  # fmt: skip
        credentials = cycle([*self.tokens, *self.keys])
        told = zip(self.messages, ways, credentials, cycle(ADDRESSES), strict=False)
        with ThreadPoolExecutor(3) as pool:
            self.statuses = list(pool.map(lambda one: self._say(*one), told))
        self._be_refused()

    def _say(self, message: str, way: tuple[str, bool], credential: str, address: str) -> int:
        path, streamed = way
        if path == "/api/chat":
            body: dict[str, Any] = {"message": message, "stream": streamed}
        else:
            body = chat(message, stream=streamed, user=USERS[0])
        return self._send(path, body, credential, address).status

    def _be_refused(self) -> None:
        key, address = self.keys[0], ADDRESSES[1]
        refused = [
            self._send("/api/chat", {"message": REFUSED}, key, address),
            self._send("/api/chat", {"message": "hi", FIELD: 1}, key, address),
            self._send("/v1/chat/completions", {**chat(), "model": FIELD}, key, address),
            self._send(f"/{FIELD}?{FIELD}={FIELD}", None, key, address, "GET"),
            self._send(f"/v1/models/{FIELD}", None, key, address, "GET"),
            self._send(f"/api/conversations?cursor={FIELD}", None, key, address, "GET"),
            self._send("/api/chat", {"message": "hi"}, self._spoiled(key), address),
            self._send("/api/chat", {"message": "hi"}, f"{FIELD}.{FIELD}.{FIELD}", address),
        ]
        assert [one.status for one in refused] == [400, 400, 404, 404, 404, 400, 401, 401]

    def _spoiled(self, key: str) -> str:
        return key[:30] + ("1" if key[30] != "1" else "2") + key[31:]

    def secrets(self) -> list[str]:
        """Everything that may be readable nowhere."""
        subjects = [json.loads(decoded(token.split(".")[1]))["oid"] for token in self.tokens]
        credentials = [*self.tokens, *self.keys, self._spoiled(self.keys[0]), self.gateway.key]
        return [
            *self.messages,
            *self.said,
            *credentials,
            *subjects,
            *USERS,
            *ADDRESSES,
            KEY_NAME,
            AGENT,
            REFUSED,
            FIELD,
            "upstream-secret-credential",
        ]


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Where everything could have been written, while the gateway ran and after it stopped."""
    home = tmp_path_factory.mktemp("readable") / "home"
    with Upstream() as upstream:
        answer, said = speaking()
        upstream.behave(answer)
        variables = {
            **upstream_settings(upstream.url),
            "OSTIARY_SERVER__TRUSTED_PROXIES": '["127.0.0.0/8"]',
        }
        with Gateway(home, variables) as gateway:
            known = list(files(home).values())
            talk = Talk(gateway, said)
            talk.everything()
            running = files(home)
            exported = gateway.command("audit", "export").stdout.encode()
            gateway.stop()
            stopped = files(home)
            proved = json.loads(gateway.command("audit", "verify", "--json").stdout)
            told = gateway.command("audit", "verify").stdout
            output = {
                "banner": gateway.banner.replace(gateway.key, "").encode(),
                "stdout": gateway.output.removeprefix(gateway.banner).encode(),
                "stderr": gateway.log.encode(),
                "audit export": exported,
            }
    return {
        "talk": talk,
        "places": {
            **{f"running: {name}": data for name, data in running.items()},
            **{f"stopped: {name}": data for name, data in stopped.items()},
            **output,
        },
        "search": Search(talk.secrets(), known),
        "proved": proved,
        "told": told,
    }


def test_everything_was_said_and_most_of_it_answered(seen):
    talk = seen["talk"]
    assert len(talk.statuses) == MESSAGES
    assert set(talk.statuses) <= {200, 400}
    assert talk.statuses.count(200) >= 0.9 * MESSAGES
    assert len(talk.said) == talk.statuses.count(200)


def test_there_is_something_to_look_into(seen):
    names = {name for name, data in seen["places"].items() if data}
    assert {"stopped: ostiary.db", "stopped: keystore.db", "running: ostiary.db"} <= names
    assert any(name.startswith("stopped: ledger/tile/entries") for name in names)
    assert "audit export" in names
    assert sum(map(len, seen["places"].values())) > 1_000_000


def test_nothing_readable_is_left_anywhere(seen):
    search = seen["search"]
    readable = {name: search.found(data) for name, data in seen["places"].items()}
    assert {name: found for name, found in readable.items() if found} == {}


def test_the_log_is_whole_and_says_how_much_it_proved(seen):
    proved = seen["proved"]
    assert (proved["ok"], proved["firstBad"]) == (True, None)
    exchanges = seen["talk"].statuses.count(200)
    assert proved["records"] >= 2 * exchanges + (MESSAGES - exchanges)
    assert int(seen["told"].split()[0]) >= proved["records"]
