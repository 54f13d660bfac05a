"""SQL that breaks out of a value (CWE-89): joined queries, tautologies, stacked statements."""

from __future__ import annotations

from dataclasses import dataclass

from ostiary import activity
from ostiary.exchange import Finding
from ostiary.ports import Detector

_W = r"(?:[\s+]|/\*\w{0,12}\*/|%(?:20|0[9a-d]|a0))"
_B, _S = rf"{_W}{{1,3}}", rf"{_W}{{0,3}}"
_JOIN = rf"(?:or|and|\|\||&&|xor){_S}\({{0,3}}{_S}"
_EQUALS = rf"{_S}(?:=|<>|!=|<|>|like){_S}\({{0,3}}"
_SELECTED = (
    r"(?:null|\d|['\"@(*]|char|concat|user|pass|version|database|0x|table_name|load_file|banner)"
)
_RULES = activity.Rules(
    "sql_injection",
    (
        activity.rule(
            rf"(?:['\")%]|(?<![a-z\d_])\d{{1,9}}){_B}union{_B}(?:all{_B}|distinct{_B})?"
            rf"\(?{_S}select(?![a-z])"
            rf"|union{_B}(?:all{_B}|distinct{_B})?\(?{_S}select{_S}{_SELECTED}"
            rf"|^{_S}union{_B}(?:all{_B})?select{_S}\Z"
        ),
        activity.rule(rf"(?<![\w.]){_JOIN}(?:\d{{1,9}}){_EQUALS}(?:\d|select|case)"),
        activity.rule(
            rf"(?<![\w.])(?:or|and){_B}(?P<same>[a-z]\w{{0,20}}){_S}={_S}(?P=same)(?!\w)"
        ),
        activity.rule(
            rf"(?<!\w)(?:{_JOIN}|(?:having|where){_B})"
            r"(?P<quote>['\"])(?P<value>[\w%]{0,20})(?P=quote)?"
            rf"{_S}(?:=|<>|!=|like){_S}\({{0,3}}(?P=quote)?(?P=value)(?:(?P=quote)|\Z|--|#|/)"
        ),
        activity.rule(
            rf"['\"]{_S}\){{0,3}}{_S}(?:or|and){_B}(?:not{_B})?"
            r"(?:\w{1,30}\(|\(select|exists|true\b|\d{1,6}(?:--|#|;|/\*)"
            r"|\w{1,30} (?:like|between) )"
        ),
        activity.rule(
            rf"['\"]\){{0,3}}{_B}(?:or|and){_B}\({{0,3}}(?P<quote>['\"])"
            r"(?:[\w%]{1,20}(?P=quote)?|(?P=quote))"
            rf"\){{0,3}}{_S}(?:=|\^|like){_S}\({{0,3}}"
        ),
        activity.rule(
            rf"^{_S}[-\w%]{{0,12}}['\"`)%]{{0,4}}{_B}"
            rf"(?:or|and){_B}(?:true|false|\w{{1,20}}=(?:['\"\w]|\())"
        ),
        activity.rule(r"^['\"]\s{0,2}[*^&|+\-]\s{0,2}['\"]\Z"),
        activity.rule(r"(?:\d|\)|'|\"|true|false)--[\s+]{0,3}\Z"),
        activity.rule(
            rf"\({_S}select{_B}"
            rf"(?:\({_S}case{_B}when|count\(\*\){_B}from{_B}"
            rf"(?:sys|all_|generate|information|domain|rdb|pg_)|top{_B}1|substring\(@@)"
        ),
        activity.rule(r"(?:^|[\w%)])['\"]\){0,3}\s{0,3};?\s{0,3}(?:--|#|/\*)[\s+]{0,3}\Z"),
        activity.rule(
            r"['\")\d];?[ \t+]{0,3};[ \t+]{0,3}(?:drop|delete|insert|update|exec|execute"
            r"|shutdown|create|alter|truncate|waitfor|declare|select|begin"
            r"|if(?=\(\d))(?:[\s(+]|%20|/\*|--|\Z)"
        ),
        activity.rule(
            rf"(?<![a-z_.])(?:sleep\({_S}(?:\d|__time__)|benchmark\(|pg_sleep\("
            rf"|waitfor{_B}delay|xp_cmdshell"
            r"|xp_reg|utl_http|utl_inaddr|dbms_pipe|dbms_lock|extractvalue\(|updatexml\("
            rf"|load_file\(|into{_B}(?:out|dump)file|randomblob\(|sysibm\.|sys\.all_|rdb\$"
            r"|make_set\("
            rf"|elt\(|exp\(~|ctxsys|procedure{_B}analyse|char\(\d{{1,4}}\){_S}[+|,]"
            rf"|chr\(\d{{1,4}}\){_S}\|\||iif\(\d|regexp_substring\(|crypt_key|master\.\.|attrelid)"
        ),
        activity.rule(
            rf"(?:^|['\")\d%]){_S}\){{0,3}}{_S}(?:order|group){_B}by{_B}"
            r"\d{1,4}"
            rf"(?:,\d{{1,4}}){{0,5}}{_S}(?:--|#|\Z)"
        ),
        activity.rule(rf"having{_B}\(?['\"]?\d{{1,6}}['\"]?{_S}[=<>]"),
        activity.rule(
            rf"^{_S}[-\w%]{{0,12}}['\"`)%]{{1,4}}{_S}\){{0,3}}{_S}"
            rf"(?:union|select|where|having|\|\||&&){_W}"
        ),
        activity.rule(rf"(?:null{_S},{_S}){{2}}null"),
        activity.rule(rf"(?<!\w)(?:or|and){_B}\d{{1,6}}{_B}between{_B}\d"),
    ),
)


@dataclass(frozen=True, slots=True)
class Options:
    """Nothing to choose."""


class _SqlInjection:
    kind = "sql_injection"
    personal = False
    reach = activity.REACH
    sign = _RULES.sign

    def find(self, text: str) -> list[Finding]:
        """What no honest value and hardly an honest question holds."""
        return _RULES.find(text)

    def settled(self, text: str) -> int:
        """Up to the last few words."""
        return activity.settled_words(text)


def build(options: Options) -> Detector:
    """The detector."""
    del options
    return _SqlInjection()
