"""What the default policy's detectors find, in the form that an evaluation takes."""

from __future__ import annotations

from ostiary.detectors import (
    credit_card,
    cross_site_scripting,
    email_address,
    ip_address,
    path_traversal,
    phone_number,
    sql_injection,
    us_ssn,
)
from ostiary.scanning import scan

_PERSONAL = (
    (email_address.build(email_address.Options()), "EMAIL"),
    (credit_card.build(credit_card.Options()), "CREDIT_CARD"),
    (us_ssn.build(us_ssn.Options()), "US_SSN"),
    (phone_number.build(phone_number.Options()), "PHONE"),
    (ip_address.build(ip_address.Options()), "IP"),
)
_ACTIVE = (
    (sql_injection.build(sql_injection.Options()), "sqli"),
    (cross_site_scripting.build(cross_site_scripting.Options()), "xss"),
    (path_traversal.build(path_traversal.Options()), "path_traversal"),
)
_LABELS = {detector.kind: label for detector, label in _PERSONAL + _ACTIVE}


def pii(text: str) -> list[tuple[int, int, str]]:
    """Personal data: start, end (code points, half open) and label."""
    found = scan(text, [detector for detector, _ in _PERSONAL])
    return [(finding.start, finding.end, _LABELS[finding.kind]) for finding in found]


def injection(text: str) -> set[str]:
    """Active content: which of sqli, xss and path_traversal is there."""
    return {_LABELS[finding.kind] for finding in scan(text, [detector for detector, _ in _ACTIVE])}
