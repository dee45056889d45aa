"""Passwords, roles, and what the sign-in page makes of what it is given."""

import ast
import unicodedata
from pathlib import Path

import pytest
from starlette.requests import Request

from app import sign_in, sign_in_page, sign_in_routes
from mes.people import passwords
from mes.people.model import BadPassword, Role
from mes.people.permissions import Permission, allows

VIEWS = Path(__file__).resolve().parents[2] / "app" / "views"
WITH_ACCENT = "caf\N{LATIN SMALL LETTER E WITH ACUTE} au lait 1984"


def test_hashes_are_argon2id_with_the_low_memory_profile_of_rfc_9106() -> None:
    one, other = passwords.hashed("a long enough password"), passwords.hashed("a long enough password")
    assert one.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert one != other
    assert not passwords.is_outdated(one)
    assert passwords.is_outdated("$argon2id$v=19$m=8192,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaA")


def test_only_the_same_password_matches_however_its_accents_are_typed() -> None:
    password_hash = passwords.hashed(WITH_ACCENT)
    assert passwords.matches(password_hash, WITH_ACCENT)
    assert passwords.matches(password_hash, unicodedata.normalize("NFD", WITH_ACCENT))
    assert not passwords.matches(password_hash, WITH_ACCENT.upper())
    assert not passwords.matches(password_hash, "")
    assert not passwords.matches("no hash at all", WITH_ACCENT)


def test_a_password_that_is_too_long_is_not_hashed() -> None:
    assert not passwords.matches(passwords.hashed("x" * 2000), "x" * 2000)


@pytest.mark.parametrize(
    ("password", "reason"),
    [("short pass1", "at least 12"), ("x1y2z3" * 200, "up to 1024"), ("a1a1a1a1a1a1a1", "different characters")],
)
def test_bad_passwords_are_refused_without_being_repeated(password: str, reason: str) -> None:
    with pytest.raises(BadPassword, match=reason) as raised:
        passwords.require_good(password)
    assert password not in str(raised.value)


def test_generated_passwords_are_good_and_differ() -> None:
    made = {passwords.generate() for _ in range(100)}
    assert len(made) == 100
    for password in made:
        passwords.require_good(password)


def test_operators_work_and_managers_may_all() -> None:
    of_operators = {permission for permission in Permission if allows(Role.OPERATOR, permission)}
    assert of_operators == {Permission.WORK, Permission.TAKE_OVER, Permission.HOLD, Permission.NOTE}
    assert all(allows(Role.MANAGER, permission) for permission in Permission)


@pytest.mark.parametrize("address", ["/", "/?order=1", "/throughput?a=b#c", "/a//b", "/?next=https://else.example"])
def test_links_within_the_console_survive_signing_in(address: str) -> None:
    assert sign_in.local(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n//evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "evil.example",
        "/sign-in?next=/",
        "/sign-out",
        "//[",
        " //evil.example",
        "",
        None,
    ],
)
def test_links_to_elsewhere_lead_home(address: str | None) -> None:
    assert sign_in.local(address) == "/"


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "http://mes.local:8501"}, False),
        ({"origin": "http://mes.local:8501"}, True),
        ({"origin": "http://mes.local:9999"}, False),
        ({"origin": "null"}, False),
        ({}, True),
    ],
)
def test_forms_of_other_sites_are_told_apart(headers: dict[str, str], own: bool) -> None:
    sent = {"host": "mes.local:8501", **headers}
    raw = [(name.encode(), value.encode()) for name, value in sent.items()]
    assert sign_in_routes.is_own(Request({"type": "http", "method": "POST", "headers": raw})) is own


def test_the_page_repeats_nothing_as_markup() -> None:
    evil = '"><script>alert(1)</script>$style'
    page = sign_in_page.html(evil, evil, evil)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 3
    assert "default-src 'none'" in sign_in_page.headers()["Content-Security-Policy"]


def test_every_part_that_runs_by_itself_asks_who_is_signed_in() -> None:
    fragments = [
        (path.name, [ast.unparse(decorator) for decorator in function.decorator_list])
        for path in sorted(VIEWS.glob("*.py"))
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        and any("st.fragment" in ast.unparse(decorator) for decorator in function.decorator_list)
    ]
    assert fragments
    for file, decorators in fragments:
        assert decorators[-1] == "explained", file
