"""How pages are filled: everything that comes from data is escaped, and only our own script may run."""

from __future__ import annotations

import base64
import hashlib
import math
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from teacher import strict_json
from teacher.wording import counted

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

COMPARISON_PAGE = "comparison.html"  # beside the tables of a comparison; a run's page shows it


@cache
def environment() -> Environment:
    """Return the templates of all pages: those of this package."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=PackageLoader("distill", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": number, "signed": signed, "count": "{:,}".format, "counted": counted}
    made.globals["style"] = Markup(_text("style.css"))
    return made


def script(name: str) -> tuple[Markup, str]:
    """Return a script of this package for a page, and the source expression that lets it, and no other, run."""
    from markupsafe import Markup

    text = _text(name)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"'sha256-{digest}'"


def data(value: Any) -> Markup:
    """Return JSON that may stand inside a `<script type="application/json">`, whatever the value says."""
    from markupsafe import Markup

    text = strict_json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def number(value: float | None) -> str:
    """Write a number with three decimals, or three digits where those would show nothing, or too much."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.3f}" if value == 0 or 0.0005 <= abs(value) < 1000 else f"{value:.3g}"


def signed(value: float) -> str:
    """Write a number with its sign."""
    return f"{'−' if value < 0 else '+'}{number(abs(value))}"


def _text(name: str) -> str:
    return files("distill.report").joinpath(name).read_text(encoding="utf-8")
