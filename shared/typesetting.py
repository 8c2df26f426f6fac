"""Documents to print and to read: Typst templates (https://typst.app/docs) set as PDF/UA-1, accessible PDF.

A template is a `.typ` file beside the code that fills it, and finds its data by `json(bytes(sys.inputs.data))`:
data is never markup, so nothing that a person typed can become a command. Fonts come from packages, never from the
machine: Source Sans Pro (SIL OFL) for text, DejaVu Sans Mono, in which 0, O, 1, l and I differ, for codes.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import font_source_sans_pro
import typst

_ROOT = Path(__file__).resolve().parent.parent
_FONTS = typst.Fonts(
    include_system_fonts=False,
    include_embedded_fonts=True,
    font_paths=[Path(font_source_sans_pro.__file__).parent / "files"],
)
_MISSING = re.compile(r"the text `\"(.+?)\"` could not be displayed")
_ESCAPED = re.compile(r"\\u\{([0-9a-f]+)\}")
# As JSON writes a control character, which no font shows: after an even number of backslashes, it is one.
_CONTROL = re.compile(r"(?<!\\)((?:\\\\)*)\\(?:u00[01][0-9a-f]|[bf])")
_FAR_EAST = "\u2e80"


def pdf(template: Path, data: Mapping[str, Any], made_at: datetime) -> bytes:
    """The document that a template makes of this data; the same data and instant (UTC) give the same bytes.

    What none of the fonts can show (Chinese, a picture in a name) is set as question marks: with empty places it would
    be no accessible document, and none at all would be worse.
    """
    said = _CONTROL.sub(r"\1?", json.dumps(data, ensure_ascii=False))
    while True:
        try:
            return _set(template, said, made_at)
        except typst.TypstError as error:
            missing = _MISSING.search(str(error))
            rest = _without(said, missing[1]) if missing else said
            if rest == said:
                raise
            said = rest


def _without(said: str, told: str) -> str:
    """The data without a text that cannot be shown, as the compiler tells it: `李`, or `\\u{10fff}`."""
    missing = set(_ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), told))
    # Of the many signs of the Far East one is told at a time: all of them go with the first.
    missing |= {character for character in said if character >= _FAR_EAST}
    return said.translate(dict.fromkeys(map(ord, missing), "?"))


def _set(template: Path, said: str, made_at: datetime) -> bytes:
    document: bytes = typst.compile(
        str(template),
        root=str(_ROOT),
        font_paths=_FONTS,
        format="pdf",
        pdf_standards="ua-1",
        timestamp=int(made_at.timestamp()),
        sys_inputs={"data": said},
    )
    return document
