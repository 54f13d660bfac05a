"""The test-suite of openai-python through the gateway: the mock judges each request that leaves
it, the suite each answer that comes back.

An opt-in job, for it needs what is not in this repository:

    OSTIARY_OPENAI_PYTHON   a checkout of openai-python with its development environment in .venv
    OSTIARY_STEADY          the mock: node_modules/.bin/steady of the npm package @stdy/cli

The suite runs three times: straight to the mock (the control), through the gateway as it is
written, and through the gateway without what is refused on purpose. The mock knows no /v1. Models
are listed by the gateway from its own configuration, so that those tests judge it alone.

What the mock makes up for /responses no provider would send: an answer that is finished and failed
at once, and events in no order. The gateway passes neither on. So there the mock judges the request
alone, and a believable answer takes the place of its own.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
import urllib.request
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.sdk import openai_suite_plugin as plugin
from tests.simulator.answers import message_item, response, response_frames
from tests.simulator.gateway import Gateway, upstream_settings
from tests.simulator.upstream import Upstream, stream

_CHECKOUT = os.environ.get("OSTIARY_OPENAI_PYTHON", "")
_STEADY = os.environ.get("OSTIARY_STEADY", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (_CHECKOUT and _STEADY),
        reason="set OSTIARY_OPENAI_PYTHON (a checkout with .venv) and OSTIARY_STEADY (the mock)",
    ),
]

ROOT = "tests/api_resources"
MODELS = [
    "gpt-5.6-sol",
    "gpt-5.4",
    "gpt-5.1",
    "gpt-4o-mini",
    "text-embedding-3-small",
]
JUDGED = ["chat/test_completions", "test_responses", "test_embeddings", "test_models"]

# Every other file, by the beginning of its name: why it is left out.
LEFT_OUT = {
    "admin/": "the provider's administration is not the callers'",
    "audio/": "no path: audio cannot be inspected",
    "beta/": "previews, served behind headers that are not forwarded",
    "chat/completions/": "chats that the provider kept: it is asked to keep none",
    "containers/": "state at the provider",
    "conversations/": "state at the provider",
    "evals/": "state at the provider",
    "fine_tuning/": "state at the provider",
    "realtime/": "WebSockets are refused",
    "responses/": "of responses only their creation has a path",
    "skills/": "state at the provider",
    "test_batches": "state at the provider",
    "test_completions": "the older completions have no path",
    "test_containers": "state at the provider",
    "test_content_provenance_checks": "no path",
    "test_conversations": "state at the provider",
    "test_evals": "state at the provider",
    "test_files": "state at the provider",
    "test_images": "no path: pictures cannot be inspected",
    "test_moderations": "no path",
    "test_realtime": "WebSockets are refused",
    "test_skills": "state at the provider",
    "test_uploads": "state at the provider",
    "test_vector_stores": "state at the provider",
    "test_videos": "no path: pictures cannot be inspected",
    "test_webhooks": "calls no one",
    "uploads/": "state at the provider",
    "vector_stores/": "state at the provider",
}


@dataclass(frozen=True)
class Refused:
    """What a test meets that the gateway refuses on purpose."""

    status: int
    rule: str  # a pattern: where two rules apply, the gateway may name either
    why: str

    def is_told_by(self, failure: str) -> bool:
        """Whether a test failed with exactly this."""
        told = f"Error code: {self.status} - .*problem:{self.rule}'"
        return re.search(told, failure) is not None


STORED = Refused(404, "admit:stateful", "of what the provider keeps nothing is served")

# By file and the test's name; the first that matches. What matches none must pass as written.
REFUSED = [
    (
        "chat/test_completions",
        r"create_with_all_params",
        Refused(400, "check:fields", "asks for at most 0 tokens"),
    ),
    (
        "chat/test_completions",
        r"_list",
        Refused(405, "admit:method", "of what the provider keeps nothing is served"),
    ),
    ("chat/test_completions", r"(method|response)_(retrieve|update|delete)", STORED),
    (
        "test_models",
        r"(method|response)_delete",
        Refused(405, "admit:method", "no caller deletes the provider's models"),
    ),
    (
        "test_responses",
        r"create_with_all_params",
        Refused(
            400,
            "check:(fields|stateful_not_supported)",
            "asks for at most 0 calls of a tool, and goes on from what the provider keeps",
        ),
    ),
    ("test_responses", r"create", Refused(400, "check:fields", "names no model")),
    ("test_responses", r"(method|response)_(retrieve|delete|cancel|compact)", STORED),
]


def refusal_of(test: str) -> Refused | None:
    """What the gateway refuses of a test, None where it must pass."""
    file, name = test.split("::")
    for in_file, pattern, refusal in REFUSED:
        if file == in_file and re.search(pattern, name):
            return refusal
    return None


@pytest.fixture(scope="module")
def mock(tmp_path_factory):
    """The mock, on a port of its own: its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    brackets = [
        f"--validator-{place}-{kind}-format=brackets"
        for place in ("query", "form")
        for kind in ("array", "object")
    ]
    described = Path(_CHECKOUT) / "api_reference" / "openapi.transformed.yml"
    command = [_STEADY, "--host", "127.0.0.1", "-p", str(port), *brackets, str(described)]
    log = tmp_path_factory.mktemp("mock") / "log"
    with log.open("w") as output:
        running = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(150):
            try:
                with urllib.request.urlopen(f"{url}/_x-steady/health", timeout=1):
                    break
            except OSError:
                assert running.poll() is None, log.read_text()
                time.sleep(0.2)
        else:
            raise AssertionError(f"the mock did not start: {log.read_text()}")
        yield url
    finally:
        running.terminate()
        running.wait(10)


@pytest.fixture(scope="module")
def judge(mock):
    """The mock, but for what it answers to a valid request on /responses: its address."""

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        dropped = {"host", "content-length", "accept-encoding"}
        headers = {k: v for k, v in request.headers.items() if k.lower() not in dropped}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method,
                f"{mock}{request.rel_url}",
                data=await request.read(),
                headers=headers,
            ) as judged,
        ):
            content = await judged.read()
        if request.path == "/responses" and judged.status == 200:
            assert judged.headers["x-steady-request-valid"] == "true"
            item = message_item("Hello.")
            if body.get("stream"):
                return await stream(request, response_frames(body, item))
            return web.json_response(response(body, [item]))
        kind = {"Content-Type": judged.headers["Content-Type"]}
        return web.Response(body=content, status=judged.status, headers=kind)

    with Upstream() as running:
        running.behave(answer)
        yield running.root


@pytest.fixture(scope="module")
def gateway(judge, tmp_path_factory):
    """In front of the mock; names with a dot are only found in a file."""
    home = tmp_path_factory.mktemp("suite") / "home"
    file = home.parent / "ostiary.toml"
    file.write_text("".join(f'[models."{name}"]\nprovider = "main"\n' for name in MODELS))
    with Gateway(home, upstream_settings(judge, []), arguments=["--config", str(file)]) as running:
        yield running


def run(folder: Path, url: str, **variables: str) -> dict[str, str]:
    """Run the judged files against an address: what each test failed with, "" where it passed."""
    checkout = Path(_CHECKOUT).absolute()
    results = folder / "results.xml"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "OPENAI_"))}
    files = [f"{ROOT}/{name}.py" for name in JUDGED]
    options = ["-q", "-n", "2", "-p", "no:cacheprovider", "-p", plugin.__name__.rpartition(".")[2]]
    subprocess.run(
        [checkout / ".venv/bin/python", "-m", "pytest", *options, "--junitxml", results, *files],
        cwd=checkout,
        env={
            **kept,
            **variables,
            "TEST_API_BASE_URL": url,
            "PYTHONPATH": str(Path(plugin.__file__).parent),
        },
        stdout=subprocess.DEVNULL,
        timeout=600,
        check=False,
    )
    prefix = ROOT.replace("/", ".") + "."
    found = {}
    for case in ElementTree.parse(results).iter("testcase"):
        module, _, _ = case.attrib["classname"].removeprefix(prefix).rpartition(".")
        kind = "async" if "Async" in case.attrib["classname"] else "sync"
        wrong = [part.text or "" for part in case if part.tag in ("failure", "error")]
        name = f"{module.replace('.', '/')}::{case.attrib['name']}-{kind}"
        found[name] = " ".join(wrong) or ("failed" if wrong else "")
    return found


@pytest.fixture(scope="module")
def direct(mock, tmp_path_factory) -> dict[str, str]:
    """The control: the suite and the mock, nothing between."""
    found = run(tmp_path_factory.mktemp("direct"), mock)
    assert len(found) >= 300
    assert [name for name, wrong in found.items() if wrong] == []
    return found


def test_every_file_of_the_suite_is_judged_or_left_out_for_a_reason():
    root = Path(_CHECKOUT) / ROOT
    files = {str(path.relative_to(root)) for path in root.rglob("test_*.py")}
    judged = {f"{name}.py" for name in JUDGED}
    assert judged <= files
    assert [file for file in sorted(files - judged) if not file.startswith(tuple(LEFT_OUT))] == []


def test_the_suite_as_written_passes_but_for_what_is_refused(direct, gateway, tmp_path):
    found = run(tmp_path, f"{gateway.url}/v1", **{plugin.KEY: gateway.key})
    assert set(found) == set(direct)
    differs = {}
    for name, wrong in found.items():
        refusal = refusal_of(name)
        if refusal is None:
            if wrong:
                differs[name] = wrong
        elif not refusal.is_told_by(wrong):
            differs[name] = f"expected {refusal}, not {wrong or 'that it passes'}"
    assert differs == {}
    print_counts("as written", found)


def test_without_what_is_refused_the_fullest_requests_pass(direct, gateway, tmp_path):
    found = run(tmp_path, f"{gateway.url}/v1", **{plugin.KEY: gateway.key, plugin.AMENDED: "1"})
    created = {name: wrong for name, wrong in found.items() if "create" in name}
    assert len(created) >= 100
    assert {name: wrong for name, wrong in created.items() if wrong} == {}
    print_counts("amended, creation alone", created)


def print_counts(what: str, found: dict[str, str]) -> None:
    """The figures for the record in docs/slow-tests.md; shown with pytest -s."""
    passed = sum(not wrong for wrong in found.values())
    print(f"\n{what}: {passed} passed, {len(found) - passed} refused on purpose")
