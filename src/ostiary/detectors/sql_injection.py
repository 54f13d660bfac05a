"""SQL that breaks out of a value (CWE-89): joined queries, tautologies, stacked statements, probes."""

from __future__ import annotations

from dataclasses import dataclass

from ostiary import activity
from ostiary.exchange import Finding
from ostiary.ports import Detector

_W = r"(?:[\s+]|/\*\w{0,12}\*/|%(?:20|0[9a-d]|a0))"
_JOIN = rf"(?:or|and|\|\||&&|xor){_W}{{0,3}}\({{0,3}}{_W}{{0,2}}"
_EQUALS = rf"{_W}{{0,2}}(?:=|<>|!=|<|>|like){_W}{{0,2}}\({{0,3}}"
_SELECTED = (
    r"(?:null|\d|['\"@(*]|char|concat|user|pass|version|database|0x|table_name|load_file|banner)"
)
_RULES = activity.Rules(
    "sql_injection",
    (
        activity.rule(
            rf"(?:['\")%]|(?<![a-z\d_])\d{{1,9}}){_W}{{1,3}}union{_W}{{1,3}}(?:all{_W}{{1,3}}|distinct{_W}{{1,3}})?"
            rf"\(?{_W}{{0,2}}select(?![a-z])"
            rf"|union{_W}{{1,3}}(?:all{_W}{{1,3}}|distinct{_W}{{1,3}})?\(?{_W}{{0,2}}select{_W}{{0,3}}{_SELECTED}"
            rf"|^{_W}{{0,3}}union{_W}{{1,3}}(?:all{_W}{{1,3}})?select{_W}{{0,3}}\Z",
            "union",
        ),
        activity.rule(
            rf"(?<![\w.]){_JOIN}(?:\d{{1,9}}){_EQUALS}(?:\d|select|case)", "or", "and", "|", "&&"
        ),
        activity.rule(
            rf"(?<![\w.])(?:or|and){_W}{{1,3}}(?P<same>[a-z]\w{{0,20}}){_W}{{0,2}}={_W}{{0,2}}(?P=same)(?!\w)",
            "or",
            "and",
        ),
        activity.rule(
            rf"(?<!\w)(?:{_JOIN}|(?:having|where){_W}{{1,3}})(?P<quote>['\"])(?P<value>[\w%]{{0,20}})(?P=quote)?"
            rf"{_W}{{0,2}}(?:=|<>|!=|like){_W}{{0,2}}\({{0,3}}(?P=quote)?(?P=value)(?:(?P=quote)|\Z|--|#|/)",
            "'",
            '"',
        ),
        activity.rule(
            rf"['\"]{_W}{{0,2}}\){{0,3}}{_W}{{0,2}}(?:or|and){_W}{{1,3}}(?:not{_W}{{1,3}})?"
            r"(?:\w{1,30}\(|\(select|exists|true\b(?!\w)|\d{1,6}(?:--|#|;|/\*)|\w{1,30} (?:like|between) )",
            "'",
            '"',
        ),
        activity.rule(
            rf"['\"]\){{0,3}}{_W}{{1,3}}(?:or|and){_W}{{1,3}}\({{0,3}}(?P<quote>['\"])"
            rf"(?:[\w%]{{1,20}}(?P=quote)?|(?P=quote))\){{0,3}}{_W}{{0,2}}(?:=|\^|like){_W}{{0,2}}\({{0,3}}",
            "'",
            '"',
        ),
        activity.rule(
            rf"^{_W}{{0,3}}[-\w%]{{0,12}}['\"`)%]{{0,4}}{_W}{{1,3}}(?:or|and){_W}{{1,3}}(?:true|false|\w{{1,20}}="
            rf"(?:['\"\w]|\())",
            "or",
            "and",
        ),
        activity.rule(r"^['\"]\s{0,2}[*^&|+\-]\s{0,2}['\"]\Z", "'", '"'),
        activity.rule(r"(?:\d|\)|'|\"|true|false)--[\s+]{0,3}\Z", "--"),
        activity.rule(
            rf"\({_W}{{0,2}}select{_W}{{1,3}}(?:\({_W}{{0,2}}case{_W}{{1,3}}when|count\(\*\){_W}{{1,3}}from{_W}{{1,3}}"
            rf"(?:sys|all_|generate|information|domain|rdb|pg_)|top{_W}{{1,3}}1|substring\(@@)",
            "select",
        ),
        activity.rule(
            r"(?:^|[\w%)])['\"]\){0,3}\s{0,3};?\s{0,3}(?:--|#|/\*)[\s+]{0,3}\Z", "--", "#", "/*"
        ),
        activity.rule(
            r"['\")\d];?[ \t+]{0,3};[ \t+]{0,3}(?:drop|delete|insert|update|exec|execute|shutdown|create"
            r"|alter|truncate|waitfor|declare|select|begin|if(?=\(\d))(?:[\s(+]|%20|/\*|--|\Z)",
            ";",
        ),
        activity.rule(
            rf"(?<![a-z_.])(?:sleep\({_W}{{0,2}}(?:\d|__time__)|benchmark\(|pg_sleep\(|waitfor{_W}{{1,3}}delay"
            r"|xp_cmdshell|xp_reg|utl_http|utl_inaddr|dbms_pipe|dbms_lock|extractvalue\(|updatexml\("
            rf"|load_file\(|into{_W}{{1,3}}(?:out|dump)file|randomblob\(|sysibm\.|sys\.all_|rdb\$|make_set\("
            rf"|elt\(|exp\(~|ctxsys|procedure{_W}{{1,3}}analyse|char\(\d{{1,4}}\){_W}{{0,2}}[+|,]"
            rf"|chr\(\d{{1,4}}\){_W}{{0,2}}\|\||iif\(\d|regexp_substring\(|crypt_key|master\.\.|attrelid"
            r"|domain\.(?:tables|columns))",
            "(",
            "sys.",
            "sysibm",
            "rdb$",
            "waitfor",
            "xp_",
            "utl_",
            "dbms_",
            "file",
            "ctxsys",
            "procedure",
            "crypt_key",
            "master..",
            "attrelid",
            "domain.",
        ),
        activity.rule(
            rf"(?:^|['\")\d%]){_W}{{0,3}}\){{0,3}}{_W}{{0,2}}(?:order|group){_W}{{1,3}}by{_W}{{1,3}}\d{{1,4}}"
            rf"(?:,\d{{1,4}}){{0,5}}{_W}{{0,2}}(?:--|#|\Z)",
            "order",
            "group",
        ),
        activity.rule(rf"having{_W}{{1,3}}\(?['\"]?\d{{1,6}}['\"]?{_W}{{0,2}}[=<>]", "having"),
        activity.rule(
            rf"^{_W}{{0,3}}[-\w%]{{0,12}}['\"`)%]{{1,4}}{_W}{{0,2}}\){{0,3}}{_W}{{0,3}}"
            rf"(?:union|select|where|having|\|\||&&){_W}",
            "union",
            "select",
            "where",
            "having",
            "||",
            "&&",
        ),
        activity.rule(rf"(?:null{_W}{{0,2}},{_W}{{0,2}}){{2}}null", "null"),
        activity.rule(
            rf"(?<!\w)(?:or|and){_W}{{1,3}}\d{{1,6}}{_W}{{1,3}}between{_W}{{1,3}}\d", "between"
        ),
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
