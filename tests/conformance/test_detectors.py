"""Every file in `ostiary/detectors` keeps the law of `ports.Detector` and has its own vectors."""

from __future__ import annotations

import importlib
import json
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ostiary.detectors
from ostiary.exchange import Finding
from ostiary.folding import fold
from ostiary.ports import Detector
from ostiary.scanning import scan, signs_of
from tests import grammar, vectors

KINDS = sorted(
    path.stem
    for folder in ostiary.detectors.__path__
    for path in Path(folder).glob("*.py")
    if path.stem != "__init__"
)
OWN = Path(__file__).parents[1] / "vectors" / "detectors"

every_kind = pytest.mark.parametrize("kind", KINDS)
relaxed = settings(
    max_examples=grammar.EXAMPLES // 4,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
thorough = settings(relaxed, max_examples=grammar.SLOW_EXAMPLES // 4)


@cache
def detector(kind: str) -> Detector:
    module = importlib.import_module(f"ostiary.detectors.{kind}")
    built: Detector = module.build(module.Options())
    return built


def own_vectors(kind: str) -> Any:
    path = OWN / f"{kind}.json"
    assert path.is_file(), f"{kind} needs vectors of its own at tests/vectors/detectors/{kind}.json"
    return json.loads(path.read_text("utf-8"))


def found_values(kind: str, text: str) -> list[str]:
    folded = fold(text)
    spans = [folded.span(f.start, f.end) for f in detector(kind).find(folded.text)]
    return [text[start:end] for start, end in spans]


@every_kind
def test_the_file_name_is_the_kind(kind: str) -> None:
    built = detector(kind)
    assert built.kind == kind
    assert isinstance(built.personal, bool)
    assert 0 < built.reach <= 1024
    assert not signs_of((built,)).seen("nothing to see")


@every_kind
def test_what_the_vectors_call_a_hit_is_found(kind: str) -> None:
    cases = own_vectors(kind)["hits"]
    assert len(cases) >= 8
    wrong = {
        case["text"]: found_values(kind, case["text"])
        for case in cases
        if case["value"] not in found_values(kind, case["text"])
    }
    assert not wrong


@every_kind
def test_what_the_vectors_call_a_miss_is_not_found(kind: str) -> None:
    cases = own_vectors(kind)["misses"]
    assert len(cases) >= 8
    assert not {text: found_values(kind, text) for text in cases if found_values(kind, text)}


def before(findings: list[Finding], end: int) -> list[Finding]:
    return [finding for finding in findings if finding.start < end]


def check_settled(kind: str, text: str, continuation: str) -> None:
    built = detector(kind)
    final = built.settled(text)
    assert 0 <= final <= len(text)
    assert len(text) - final <= built.reach
    assert before(built.find(text + continuation), final) == before(built.find(text), final)


def check_findings(kind: str, text: str) -> None:
    built = detector(kind)
    findings = built.find(text)
    assert findings == sorted(findings, key=lambda f: (f.start, f.end))
    assert all(0 <= f.start < f.end <= len(text) for f in findings)
    assert all(f.end - f.start <= built.reach and f.kind == kind for f in findings)
    assert all(signs_of((built,)).seen(text[f.start : f.end]) for f in findings)
    assert scan(text, [built]) == findings  # asked wherever it would find something


def check_local(kind: str, text: str, cut: int) -> None:
    built = detector(kind)
    whole = [f for f in built.find(text) if f.start >= cut + built.reach]
    part = [
        Finding(f.kind, f.start + cut, f.end + cut)
        for f in built.find(text[cut:])
        if f.start >= built.reach
    ]
    assert part == whole


@every_kind
@relaxed
@given(text=grammar.texts, continuation=grammar.texts)
def test_what_is_settled_stays_whatever_follows(kind: str, text: str, continuation: str) -> None:
    check_settled(kind, fold(text).text, fold(continuation).text)


@every_kind
@pytest.mark.slow
@thorough
@given(text=grammar.texts, continuation=grammar.texts)
def test_what_is_settled_stays_thoroughly(kind: str, text: str, continuation: str) -> None:
    check_settled(kind, fold(text).text, fold(continuation).text)


@every_kind
def test_every_cut_of_every_hit_is_settled_rightly(kind: str) -> None:
    for case in own_vectors(kind)["hits"]:
        text = fold(case["text"]).text
        for cut in range(len(text) + 1):
            check_settled(kind, text[:cut], text[cut:])


@every_kind
@relaxed
@given(text=grammar.texts)
def test_findings_are_sorted_bounded_and_signed(kind: str, text: str) -> None:
    check_findings(kind, fold(text).text)


@every_kind
@settings(relaxed, max_examples=grammar.EXAMPLES // 20)
@given(text=grammar.long_texts, cut=st.integers(0, 600))
def test_findings_do_not_depend_on_what_is_far_to_the_left(kind: str, text: str, cut: int) -> None:
    check_local(kind, fold(text).text, cut)


@every_kind
@pytest.mark.slow
@settings(thorough, max_examples=grammar.SLOW_EXAMPLES // 20)
@given(text=grammar.long_texts, cut=st.integers(0, 600))
def test_findings_do_not_depend_on_the_far_left_thoroughly(kind: str, text: str, cut: int) -> None:
    check_local(kind, fold(text).text, cut)


PROSE = (
    "The committee meets again on Thursday to discuss what the museum should do with the old "
    "printing press, which nobody has used for many years; it's a fine machine, and heavy. "
)


@every_kind
def test_ordinary_prose_is_hardly_held_back(kind: str) -> None:
    held = [cut - detector(kind).settled(PROSE[:cut]) for cut in range(1, len(PROSE) + 1)]
    assert max(held) <= 64


def seconds(kind: str, text: str) -> float:
    built = detector(kind)
    best = float("inf")
    for _ in range(3):
        start = time.thread_time()
        built.find(fold(text).text)
        best = min(best, time.thread_time() - start)
    return best


def check_linear(kind: str, case: Any, limit: float) -> None:
    """100 KB in under `limit` seconds, and no more than six times what 25 KB take."""

    def pumped(size: int) -> str:
        times = (size - len(case["prefix"]) - len(case["suffix"])) // len(case["pump"].encode())
        return str(case["prefix"] + case["pump"] * max(1, times) + case["suffix"])

    for attempt in range(4):  # the clock of a busy machine errs upwards
        long = seconds(kind, pumped(100_000))
        if long < limit and (long < 0.02 or long / seconds(kind, pumped(25_000)) < 6):
            return
        assert attempt < 3, f"{case}: {long:.3f} s"


@every_kind
def test_own_hostile_texts_take_linear_time(kind: str) -> None:
    cases = own_vectors(kind)["hostile"]
    assert cases
    for case in cases:
        check_linear(kind, case, 0.3)  # dense with values that have to be looked at


@every_kind
def test_pump_strings_take_linear_time(kind: str) -> None:
    loaded: Any = vectors.load("redos_pumps.json")
    assert len(loaded["cases"]) >= 71
    for case in loaded["cases"]:
        check_linear(kind, case, 0.1)
