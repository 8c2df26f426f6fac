"""The booklet as one page for a telephone: a file that stands by itself, asks for nothing and runs nothing.

A beneficiary has no account, and an address that opens the page would be a secret in an address: it would be kept in
logs, histories and previews. So the prescriber saves the page and hands the file over, and it works without a network.
"""

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from services.issuer.booklets.booklet import Booklet

_HERE = Path(__file__).parent
_STYLE = _HERE.joinpath("booklet.css").read_text(encoding="utf-8")
_TEMPLATES = Environment(
    loader=FileSystemLoader(_HERE), autoescape=select_autoescape(), undefined=StrictUndefined, trim_blocks=True
)

_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"
"""What a browser lets the page do: be styled by its own sheet, and nothing else. It is in the page too, once saved."""


def page(booklet: Booklet) -> str:
    """The page as HTML, in French."""
    return _TEMPLATES.get_template("booklet.html").render(booklet=booklet, style=_STYLE, policy=POLICY)
