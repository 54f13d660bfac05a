"""The founding page's own examples, and texts that no detector may touch."""

from __future__ import annotations

import json

import pytest

from ostiary.scorecard import injection, pii
from tests import vectors


def test_both_values_of_the_founding_example_are_found() -> None:
    text = "My SSN is 123-45-6789 and email is test@example.com"
    assert pii(text) == [(10, 21, "US_SSN"), (35, 51, "EMAIL")]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("'; DROP TABLE users; --", {"sqli"}),
        ('<script>alert("xss")</script>', {"xss"}),
        ("1 UNION\nSELECT password FROM users", {"sqli"}),
        ("../../../../etc/passwd", {"path_traversal"}),
        ("<b>bold text</b> and <i>italic</i>", set()),
        ("onboarding = true", set()),
    ],
)
def test_active_content_is_told_from_harmless_text(text: str, labels: set[str]) -> None:
    assert injection(text) == labels


def evasions() -> list[dict[str, str]]:
    lines = (vectors.folder() / "unicode_evasions.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_benign_texts_of_all_scripts_are_left_alone() -> None:
    benign = [case["text"] for case in evasions() if case["group"] == "benign"]
    assert len(benign) >= 40
    assert not [text for text in benign if pii(text) or injection(text)]


def test_at_least_six_in_seven_values_that_look_the_same_are_found() -> None:
    labels = {"EMAIL", "PHONE", "CREDIT_CARD", "US_SSN", "IP"}
    cases = [c for c in evasions() if c["kind"] in labels and c["tier"] == "A"]
    assert len(cases) >= 270
    assert sum(bool(pii(case["text"])) for case in cases) / len(cases) > 6 / 7
