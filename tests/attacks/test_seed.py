"""The founding page's own security test-suite, every case of it, against a live gateway."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.simulator.gateway import Gateway


@pytest.fixture
def gateway(tmp_path):
    with Gateway(tmp_path / "home", limits="default") as running:
        yield running


def chat(gateway: Gateway, message: str, token: str | None) -> tuple[int, dict[str, Any], Any]:
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(
        f"{gateway.url}/api/chat", json.dumps({"message": message}).encode(), headers
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.load(response), response.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), error.headers


def test_rejects_requests_without_authentication(gateway):
    status, _, headers = chat(gateway, "test", None)
    assert status == 401
    assert headers["WWW-Authenticate"]


def test_rejects_invalid_tokens(gateway):
    status, _, _ = chat(gateway, "test", "invalid-token")
    assert status == 401


def test_rejects_sql_injection_attempts(gateway):
    status, body, _ = chat(gateway, "'; DROP TABLE users; --", gateway.token())
    assert status == 400
    assert "malicious content" in body["error"]


def test_rejects_xss_attempts(gateway):
    status, body, _ = chat(gateway, '<script>alert("xss")</script>', gateway.token())
    assert status == 400
    assert "malicious content" in body["error"]


def test_sanitizes_html_content(gateway):
    status, body, _ = chat(gateway, "<b>bold text</b> and <i>italic</i>", gateway.token())
    assert status == 200
    assert body["response"] == "Echo: bold text and italic"
    assert "<b>" not in gateway.log


def test_enforces_rate_limits(gateway):
    token = gateway.token()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: chat(gateway, "test message", token), range(100)))
    statuses = [status for status, _, _ in answers]
    assert statuses.count(200) >= 60
    refused = [headers for status, _, headers in answers if status == 429]
    assert refused
    assert all(int(headers["Retry-After"]) >= 1 for headers in refused)


def test_detects_and_sanitizes_personal_data(gateway):
    message = "My SSN is 123-45-6789 and email is test@example.com"
    status, body, _ = chat(gateway, message, gateway.token())
    assert status == 200
    assert body["warning"]["detected"] is True
    assert set(body["warning"]["types"]) == {"us_ssn", "email_address"}
    assert "123-45-6789" not in body["response"]
    assert "test@example.com" not in body["response"]
