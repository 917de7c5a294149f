"""docs/API.md says what there is: every path, every refusal's code."""

import re
from pathlib import Path

from fastapi.routing import APIRoute

from gateway import errors
from gateway.api import feedback, models
from gateway.app import ENDPOINTS, PROBES
from tutelage.control.app import ROUTERS

ROOT = Path(__file__).parents[1]
DATA, ADMIN = (ROOT / "docs/API.md").read_text().split("## Admin plane")
BOTH_PLANES = {("GET", "/livez"), ("GET", "/readyz")}
ADMINS_OWN = BOTH_PLANES | {("GET", "/metrics")}


def rows(text: str) -> set[tuple[str, str]]:
    """(method, path) of each row of a table of paths."""
    return set(re.findall(r"^\| (GET|POST|PUT|DELETE) \| `([^`]+)` \|", text, re.MULTILINE))


def test_every_path_of_the_data_plane_is_in_the_document():
    served = {("POST", path) for path in (*ENDPOINTS, feedback.PATH)} | {
        ("GET", path) for path in (models.PATH, *PROBES)
    }
    assert rows(DATA) == served


def test_every_path_of_the_admin_plane_is_in_the_document():
    served = {
        (method, route.path)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert rows(ADMIN) == served | ADMINS_OWN


def test_every_code_of_a_refusal_is_in_the_document():
    source = "\n".join(path.read_text() for path in (ROOT / "gateway").rglob("*.py"))
    given = set(re.findall(r'\bcode ?= ?"([a-z_]+)"', source))
    given |= {code for _, code, _ in errors._LIMITS.values()}
    assert set(re.findall(r"^\| \d{3} \| `([a-z_]+)` \|", DATA, re.MULTILINE)) == given
