"""Requests to every surface: nothing uninspected goes out, nothing kept is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.attacks.surfaces import (
    CHAT,
    EMAIL,
    EMBEDDINGS,
    MODELS,
    RESPONSES,
    SURFACES,
    ask,
    asking,
    is_azure,
)
from tests.simulator.client import bearer, check_problem, send
from tests.simulator.gateway import Gateway, upstream_settings
from tests.simulator.upstream import Upstream


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    home = tmp_path_factory.mktemp("surfaces") / "home"
    with Gateway(home, upstream_settings(upstream.url, MODELS)) as running:
        yield running


@pytest.fixture(scope="module")
def lenient(upstream, tmp_path_factory):
    """A gateway that lets through what it cannot read, and records that it did."""
    home = tmp_path_factory.mktemp("lenient") / "home"
    settings = {**upstream_settings(upstream.url, MODELS), "OSTIARY_POLICY__OPAQUE": "record"}
    with Gateway(home, settings) as running:
        yield running


@pytest.fixture(scope="module")
def blocking(upstream, tmp_path_factory):
    home = tmp_path_factory.mktemp("blocking") / "home"
    settings = upstream_settings(upstream.url, MODELS)
    settings["OSTIARY_POLICY__KINDS__EMAIL_ADDRESS"] = "block"
    with Gateway(home, settings) as running:
        yield running


@pytest.fixture(autouse=True)
def forget(upstream):
    upstream.received.clear()
    upstream.behave(None)


SCHEMA = {"type": "object", "properties": {"x": {"type": "string", "description": EMAIL}}}
TURN: dict[str, Any] = {"role": "user", "content": "hi"}
IN_RESPONSES: dict[str, dict[str, Any]] = {
    "input": {"input": f"write to {EMAIL}"},
    "instructions": {"instructions": f"You serve {EMAIL}."},
    "instructions as items": {"instructions": [{"role": "system", "content": EMAIL}]},
    "a message": {"input": [{"role": "user", "content": EMAIL}]},
    "a text part": {
        "input": [{"role": "user", "content": [{"type": "input_text", "text": EMAIL}]}]
    },
    "an earlier answer": {
        "input": [
            TURN,
            {
                "type": "message",
                "role": "assistant",
                "id": "msg_1",
                "content": [{"type": "output_text", "text": EMAIL, "annotations": []}],
            },
        ]
    },
    "an earlier refusal": {
        "input": [{"role": "assistant", "content": [{"type": "refusal", "refusal": EMAIL}]}]
    },
    "a call": {
        "input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": EMAIL}]
    },
    "a call's name": {
        "input": [{"type": "function_call", "call_id": "c", "name": EMAIL, "arguments": "{}"}]
    },
    "a call's id": {
        "input": [{"type": "function_call", "call_id": EMAIL, "name": "f", "arguments": "{}"}]
    },
    "a result": {"input": [{"type": "function_call_output", "call_id": "c", "output": EMAIL}]},
    "a result of parts": {
        "input": [
            {
                "type": "function_call_output",
                "call_id": "c",
                "output": [{"type": "input_text", "text": EMAIL}],
            }
        ]
    },
    "a custom call": {
        "input": [{"type": "custom_tool_call", "call_id": "c", "name": "f", "input": EMAIL}]
    },
    "a summary": {
        "input": [
            {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": EMAIL}]}
        ]
    },
    "sealed reasoning": {
        "input": [{"type": "reasoning", "id": "r", "summary": [], "encrypted_content": EMAIL}]
    },
    "a shell's output": {
        "input": [
            {
                "type": "local_shell_call_output",
                "id": "c",
                "output": json.dumps({"stdout": f"mail {EMAIL}"}),
            }
        ]
    },
    "an unknown item": {"input": [{"type": "x_item", "x": {"y": [EMAIL]}}]},
    "an unknown item's type": {"input": [{"type": EMAIL, "x": 1}]},
    "a tool's description": {
        "tools": [{"type": "function", "name": "f", "description": EMAIL, "parameters": {}}]
    },
    "a tool's parameters": {"tools": [{"type": "function", "name": "f", "parameters": SCHEMA}]},
    "a tool's address": {
        "tools": [{"type": "mcp", "server_label": "m", "server_url": f"https://x/?q={EMAIL}"}]
    },
    "a place of a search": {
        "tools": [{"type": "web_search", "user_location": {"type": "approximate", "city": EMAIL}}]
    },
    "a tool's choice": {"tool_choice": {"type": "function", "name": EMAIL}},
    "a format": {"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}},
    "metadata": {"metadata": {"customer": EMAIL}},
    "a name in metadata": {"metadata": {EMAIL: "customer"}},
    "the user": {"user": EMAIL},
    "the safety identifier": {"safety_identifier": EMAIL},
    "a cache key": {"prompt_cache_key": EMAIL},
    "include": {"include": [EMAIL]},
    "an unknown field": {"x_note": {"deep": [EMAIL]}},
    "a field's name": {EMAIL: "x"},
}
IN_CHAT: dict[str, dict[str, Any]] = {
    "a message": {"messages": [{"role": "user", "content": EMAIL}]},
    "a system message": {"messages": [{"role": "system", "content": EMAIL}, TURN]},
    "a name": {"messages": [{"role": "user", "name": EMAIL, "content": "hi"}]},
    "a result": {"messages": [TURN, {"role": "tool", "tool_call_id": "c", "content": EMAIL}]},
    "a tool": {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]},
    "the user": {"user": EMAIL},
    "an unknown field": {"x_note": {"deep": [EMAIL]}},
    "a field's name": {EMAIL: "x"},
    "a data source": {"data_sources": [{"type": "azure_search", "parameters": {"index": EMAIL}}]},
}
IN_EMBEDDINGS: dict[str, dict[str, Any]] = {
    "input": {"input": f"of {EMAIL}"},
    "a list": {"input": ["harmless", f"of {EMAIL}"]},
    "the user": {"user": EMAIL},
    "an unknown field": {"x_note": {"deep": [EMAIL]}},
    "a field's name": {EMAIL: "x"},
}


@pytest.mark.parametrize(
    ("path", "where"),
    [
        *((path, where) for path in RESPONSES[::2] for where in IN_RESPONSES),
        *((path, where) for path in CHAT[1:] for where in IN_CHAT),
        *((path, where) for path in EMBEDDINGS[::3] for where in IN_EMBEDDINGS),
    ],
)
def test_no_string_of_a_request_reaches_the_model_uninspected(gateway, upstream, path, where):
    cases = IN_RESPONSES if path in RESPONSES else IN_CHAT if path in CHAT else IN_EMBEDDINGS
    answered = ask(gateway, path, asking(path) | cases[where])
    assert answered.status == 200, answered
    [received] = upstream.received
    assert EMAIL.encode() not in received.raw
    assert b"REDACTED" in received.raw
    assert received.body.get("store", False) is False
    assert EMAIL.encode() not in answered.body


@pytest.mark.parametrize("store", [None, False, True])
@pytest.mark.parametrize("path", SURFACES)
def test_nothing_is_stored_upstream_and_the_path_says_which_model(gateway, upstream, path, store):
    model = "gpt-4o-mini" if "/deployments/" in path or path in CHAT else "gpt-4o"
    body = {**asking(path), "model": model, "store": store}
    assert ask(gateway, path, body).status == 200
    [received] = upstream.received
    if path in RESPONSES:
        assert received.body["store"] is False
    assert not received.body.get("store")
    dialect = "responses" if path in RESPONSES else "embeddings" if path in EMBEDDINGS else "chat/"
    assert received.path.startswith(f"/v1/{dialect}")
    named = path.partition("/deployments/")[2].partition("/")[0]
    assert received.body["model"] == (named or model)
    assert "api-version" not in received.path


def test_a_body_need_not_name_the_model_that_its_path_names_and_models_has_a_default(
    gateway, upstream
):
    for path in ("/openai/deployments/gpt-4o-mini/chat/completions", "/models/chat/completions"):
        for model in ({}, {"model": None}):
            body = {"messages": [TURN], **model}
            assert ask(gateway, path, body).status == 200
    assert [r.body["model"] for r in upstream.received] == ["gpt-4o-mini"] * 2 + ["gpt-4o"] * 2
    refused = ask(gateway, "/v1/responses", {"input": "hi"})
    assert check_problem(refused, 400)["error"]["param"] == "model"


ITEMS = "stateful_not_supported"
FILE = {"type": "input_file", "file_id": "file-1"}
STATEFUL: dict[str, dict[str, Any]] = {
    "an earlier response": {"previous_response_id": "resp_1"},
    "a conversation": {"conversation": "conv_1"},
    "a conversation's object": {"conversation": {"id": "conv_1"}},
    "a stored prompt": {"prompt": {"id": "pmpt_1"}},
    "a later answer": {"background": True},
    "a reference": {"input": [{"type": "item_reference", "id": "msg_1"}]},
    "a reference without its type": {"input": [TURN, {"id": "msg_1"}]},
    "a file": {"input": [{"role": "user", "content": [FILE]}]},
    "an image that is a file": {
        "input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]
    },
    "a file in a result": {
        "input": [{"type": "function_call_output", "call_id": "c", "output": [FILE]}]
    },
    "a screenshot that is a file": {
        "input": [
            {
                "type": "computer_call_output",
                "call_id": "c",
                "output": {"type": "computer_screenshot", "file_id": "file-1"},
            }
        ]
    },
    "a file in an unknown item": {"input": [{"type": "x", "y": {"z": [FILE]}}]},
    "a file in the instructions": {"instructions": [{"role": "system", "content": [FILE]}]},
    "a vector store": {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
    "a vector store of a new tool": {"tools": [{"type": "x", "vector_store_ids": ["vs_1"]}]},
    "a container": {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]},
    "files of a container": {
        "tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["f"]}}]
    },
    "a shell's container": {
        "tools": [
            {"type": "shell", "environment": {"type": "container_reference", "container_id": "c"}}
        ]
    },
    "a mask": {"tools": [{"type": "image_generation", "input_image_mask": {"file_id": "f"}}]},
}


@pytest.mark.parametrize("where", STATEFUL)
def test_nothing_that_a_provider_keeps_can_be_named(gateway, lenient, upstream, where):
    for one in (gateway, lenient):
        answered = ask(one, "/v1/responses", asking("/v1/responses") | STATEFUL[where])
        problem = check_problem(answered, 400)
        assert problem["error"]["code"] in {ITEMS, "opaque_content"}
        if one is lenient:
            assert problem["error"]["code"] == ITEMS
            assert "store is false" in problem["detail"]
    assert upstream.received == []


def test_a_file_in_a_chat_cannot_be_named(lenient, upstream):
    part = {"type": "file", "file": {"file_id": "file-1"}}
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": [part]}]}
    problem = check_problem(ask(lenient, CHAT[0], body), 400)
    assert problem["error"]["code"] == ITEMS
    assert upstream.received == []


def test_a_tool_may_have_a_parameter_of_any_name(gateway, upstream):
    """What only looks like a reference, in a schema, is none."""
    parameters = {"properties": {"file_id": {"type": "string"}}, "required": ["file_id"]}
    parameters["examples"] = [{"file_id": "file-1"}]
    tools = [{"type": "function", "name": "read", "parameters": parameters}]
    body = asking("/v1/responses", tools=tools, tool_choice="none")
    assert ask(gateway, "/v1/responses", body).status == 200
    assert upstream.received[0].body["tools"] == tools


def in_turn(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": list(parts)}]}


PIXEL = "data:image/png;base64,iVBORw0KGgo="
OPAQUE: dict[str, tuple[str, dict[str, Any], str]] = {
    "an image": (
        "/v1/responses",
        in_turn({"type": "input_image", "image_url": PIXEL}),
        "input[0].content[0]:image_url",
    ),
    "an image that calls itself text": (
        "/openai/responses?api-version=2025-03-01-preview",
        in_turn({"type": "input_text", "text": "x", "image_url": PIXEL}),
        "input[0].content[0]:image_url",
    ),
    "a file": (
        "/v1/responses",
        in_turn({"type": "input_file", "filename": "a.pdf", "file_data": "data:,x"}),
        "input[0].content[0]:file_data",
    ),
    "a file elsewhere": (
        "/v1/responses",
        in_turn({"type": "input_file", "file_url": "https://example.com/a.pdf"}),
        "input[0].content[0]:file_url",
    ),
    "sound": (
        "/v1/responses",
        in_turn({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}),
        "input[0].content[0]:input_audio",
    ),
    "an unknown part": (
        "/v1/responses",
        in_turn({"type": "input_hologram", "x": "y"}),
        "input[0].content[0]:other",
    ),
    "a screenshot": (
        "/v1/responses",
        {
            "input": [
                {
                    "type": "computer_call_output",
                    "call_id": "c",
                    "output": {"type": "computer_screenshot", "image_url": PIXEL},
                }
            ]
        },
        "input[0].output[0]:image_url",
    ),
    "an image of before": (
        "/v1/responses",
        {"input": [{"type": "image_generation_call", "id": "ig", "result": "iVBORw0KGgo="}]},
        "input[0]:image_generation_call",
    ),
    "a tool that draws": (
        "/v1/responses",
        {"tools": [{"type": "image_generation"}]},
        "tools[0]:image_generation",
    ),
    "a tool that looks": (
        "/v1/responses",
        {"tools": [{"type": "computer_use_preview", "display_width": 1}]},
        "tools[0]:computer_use_preview",
    ),
    "token ids": ("/v1/embeddings", {"input": [101, 102]}, "input:tokens"),
    "lists of token ids": ("/models/embeddings", {"input": [[101], [102]]}, "input:tokens"),
    "an image in a chat": (
        "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": PIXEL}}],
                }
            ]
        },
        "messages[0].content[0]:image_url",
    ),
}


@pytest.mark.parametrize("what", OPAQUE)
def test_what_nobody_can_read_is_refused(gateway, upstream, what):
    path, fields, _ = OPAQUE[what]
    problem = check_problem(ask(gateway, path, asking(path) | fields), 400)
    assert problem["error"]["code"] == "opaque_content"
    assert upstream.received == []


def test_what_nobody_can_read_is_recorded_where_it_may_pass(lenient):
    wanted = {}
    for path, fields, named in OPAQUE.values():
        answered = ask(lenient, path, asking(path) | fields)
        assert answered.status == 200, answered
        wanted[answered.headers["x-request-id"]] = named
    intents = {r["requestId"]: r for r in lenient.records() if r["event"] == "intent"}
    for request, named in wanted.items():
        assert named in intents[request]["uninspected"]


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "gopher://a/", "", 5, None, {"url": "file:///"}]
)
def test_an_image_is_on_the_web_or_in_the_request(lenient, upstream, url):
    for at in (
        in_turn({"type": "input_image", "image_url": url}),
        {"input": [{"type": "computer_call_output", "output": {"type": "x", "image_url": url}}]},
    ):
        check_problem(ask(lenient, "/v1/responses", asking("/v1/responses") | at), 400)
    assert upstream.received == []


WRONG: dict[str, tuple[str, Any]] = {
    "no input": ("/v1/responses", {"model": "gpt-4o"}),
    "an empty input": ("/v1/responses", {"model": "gpt-4o", "input": []}),
    "an item that is text": ("/v1/responses", {"model": "gpt-4o", "input": ["x"]}),
    "an item of an odd type": ("/v1/responses", {"model": "gpt-4o", "input": [{"type": []}]}),
    "a role that is none": (
        "/v1/responses",
        {"model": "gpt-4o", "input": [{"role": "root", "content": "x"}]},
    ),
    "a part that is text": (
        "/v1/responses",
        {"model": "gpt-4o", "input": [{"role": "user", "content": ["x"]}]},
    ),
    "a text that is none": (
        "/v1/responses",
        {
            "model": "gpt-4o",
            "input": [{"role": "user", "content": [{"type": "input_text", "text": 5}]}],
        },
    ),
    "a tool of an odd type": (
        "/v1/responses",
        {"model": "gpt-4o", "input": "x", "tools": [{"type": ["x"]}]},
    ),
    "a tool that is text": ("/v1/responses", {"model": "gpt-4o", "input": "x", "tools": ["x"]}),
    "no embedding's input": ("/v1/embeddings", {"model": "text-embedding-3-small"}),
    "an object to embed": (
        "/v1/embeddings",
        {"model": "text-embedding-3-small", "input": [{"text": "x"}]},
    ),
    "a mixed list": ("/v1/embeddings", {"model": "text-embedding-3-small", "input": ["x", 5]}),
    "true": ("/v1/embeddings", {"model": "text-embedding-3-small", "input": [True]}),
    "a list": ("/openai/deployments/gpt-4o/chat/completions", [1]),
    "nothing": ("/openai/deployments/gpt-4o/chat/completions", {}),
    "a model that is a number": (
        "/openai/deployments/gpt-4o/chat/completions",
        {"model": 5, "messages": [TURN]},
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_body_is_400_in_openais_shape(gateway, upstream, what):
    path, body = WRONG[what]
    problem = check_problem(ask(gateway, path, body), 400)
    assert problem["layer"] == "check"
    assert upstream.received == []


@pytest.mark.parametrize(
    "path",
    [
        "/openai/deployments/none/chat/completions",
        "/openai/deployments/none/embeddings",
        "/openai/deployments/../chat/completions",
        "/openai/deployments/%2e%2e/chat/completions",
        "/openai/deployments/gpt-4o%00/chat/completions",
        "/openai/deployments/GPT-4O/chat/completions",
        "/openai/deployments/gpt-4o%252fx/chat/completions",
        "/openai/deployments/gpt-4o%2fx/chat/completions",
        "/openai/deployments/gpt-4o%2Fchat/completions",
        "/openai/deployments/gpt-4o%5c..%5cx/chat/completions",
        "/openai/deployments//chat/completions",
        "/openai/deployments/gpt-4o/x/../chat/completions",
        "/openai/deployments/gpt-4o/chat/completions/",
        "/openai/deployments/gpt-4o/responses",
        "/openai%2fv1/responses",
        "/api/projects/%2f/openai/v1/responses",
        "/api/projects/p/q/openai/v1/responses",
        "/api/projects//openai/v1/responses",
        "/v1/completions",
    ],
)
def test_a_path_that_is_not_exactly_one_is_404(gateway, upstream, path):
    body = asking("/v1/embeddings" if path.endswith("embeddings") else CHAT[0])
    problem = check_problem(ask(gateway, path, body), 404)
    assert "innererror" not in problem["error"]
    assert upstream.received == []


def test_a_deployment_is_known_however_its_letters_are_written(gateway, upstream):
    path = "/openai/deployments/%67pt-4o/chat/completions"
    assert ask(gateway, path, asking(CHAT[0])).status == 200
    assert upstream.received[0].body["model"] == "gpt-4o"


@pytest.mark.parametrize("version", ["", "?api-version=", "?api-version=1999-01-01", "?x=y"])
def test_any_api_version_and_none_is_the_same(gateway, upstream, version):
    for path in ("/openai/deployments/gpt-4o/chat/completions", "/openai/responses"):
        body = asking(CHAT[0]) if "chat" in path else asking("/v1/responses")
        assert ask(gateway, path + version, body).status == 200
    assert [received.path for received in upstream.received] == [
        "/v1/chat/completions",
        "/v1/responses",
    ]


def test_two_api_versions_are_400(gateway):
    path = "/openai/responses?api-version=1&api-version=2"
    assert check_problem(ask(gateway, path, {}), 400)["rule"] == "query-duplicate"


@pytest.mark.parametrize("path", SURFACES)
def test_one_credential_in_any_header_and_never_two(gateway, upstream, path):
    key = gateway.key
    body = asking(path)
    taken: list[list[tuple[str, str]]] = [
        [*bearer(key).items()],
        [("api-key", key)],
        [("x-api-key", key)],
        [*bearer(key).items(), ("api-key", key)],
        [("api-key", key), ("api-key", key), ("x-api-key", key)],
    ]
    for headers in taken:
        assert send(gateway.url, "POST", path, body, headers).status == 200
    for name, value in (("authorization", f"Bearer {key}"), ("api-key", key), ("x-api-key", key)):
        assert [r for r in upstream.received if value in r.headers.values()] == [], name
    upstream.received.clear()
    other = key[:-1] + ("0" if key[-1] != "0" else "1")
    refused: list[list[tuple[str, str]]] = [
        [],
        [*bearer(key).items(), ("api-key", other)],
        [("x-api-key", key), ("api-key", other)],
    ]
    for headers in refused:
        check_problem(send(gateway.url, "POST", path, body, headers), 401)
    assert upstream.received == []


@pytest.mark.parametrize(
    "path",
    ["/v1/responses", "/v1/realtime?model=gpt-4o", "/openai/realtime", "/openai/v1/realtime"],
)
def test_a_websocket_is_refused_with_a_sentence(gateway, path):
    headers = {
        **bearer(gateway.key),
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    problem = check_problem(send(gateway.url, "GET", path, headers=headers), 400)
    assert problem["detail"] == "WebSockets are not served."


@pytest.mark.parametrize("root", ["/v1", "/openai", "/openai/v1", "/api/projects/p/openai/v1"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "responses/resp_1"),
        ("DELETE", "responses/resp_1"),
        ("GET", "responses/resp_1/input_items"),
        ("POST", "responses/resp_1/cancel"),
        ("POST", "responses/compact"),
        ("GET", "chat/completions/chatcmpl-1"),
        ("GET", "files"),
        ("GET", "files/file-1/content"),
        ("POST", "vector_stores/vs_1/search"),
        ("POST", "batches"),
        ("POST", "threads/t/runs"),
        ("POST", "conversations"),
        ("POST", "containers"),
    ],
)
def test_what_a_provider_keeps_is_404_and_says_why(gateway, upstream, root, method, path):
    body = {} if method == "POST" else None
    answered = send(gateway.url, method, f"{root}/{path}", body, bearer(gateway.key))
    problem = check_problem(answered, 404)
    assert problem["rule"] == "stateful"
    assert "nothing is stored upstream" in problem["detail"]
    assert upstream.received == []


@pytest.mark.parametrize("path", SURFACES)
def test_a_block_has_innererror_on_azures_paths_and_nowhere_else(blocking, upstream, path):
    answered = ask(blocking, path, asking(path, f"write to {EMAIL}"))
    assert answered.status == 400
    problem = answered.json()
    error = problem["error"]
    assert error["code"] == "content_filter"
    assert EMAIL not in answered.body.decode()
    assert upstream.received == []
    if is_azure(path):
        assert error["innererror"] == {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {"email_address": {"filtered": True, "detected": True}},
        }
    else:
        check_problem(answered, 400)
    unknown = ask(blocking, path, asking(path) | {"x": 1, "stream": "yes"})
    if path not in EMBEDDINGS:
        check_problem(unknown, 400)
