"""Documents to print and to read: Typst templates (https://typst.app/docs) set as PDF/UA-1, accessible PDF.

A template is a `.typ` file beside the code that fills it, and reads its data by `json(bytes(sys.inputs.data))`: data
is never markup, so nothing that a person typed can become a command. Fonts come from packages, never from the machine:
Source Sans Pro (SIL OFL) for text, DejaVu Sans Mono, in which 0, O, 1, l and I differ, for codes.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import font_source_sans_pro
import typst

_ROOT = Path(__file__).resolve().parents[2]
_FONTS = typst.Fonts(
    include_system_fonts=False,
    include_embedded_fonts=True,
    font_paths=[Path(font_source_sans_pro.__file__).parent / "files"],
)
_MISSING = re.compile(r"the text `\"(.+?)\"` could not be displayed")
_ESCAPED = re.compile(r"\\u\{([0-9a-f]+)\}")
# No font shows these; line ends and tabulators are set as spaces.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_FAR_EAST = "\u2e80"
# Every font has the letters of Latin 1 and Latin Extended-A.
_LATIN_ENDS = "\u017f"


def pdf(template: Path, data: Mapping[str, Any], made_at: datetime) -> bytes:
    """The document that a template makes of this data; the same data and instant (UTC) give the same bytes.

    What none of the fonts can show (Chinese, a picture in a name) is set as question marks.
    """
    shown = _map_texts(data, lambda text: _CONTROL.sub("?", text))
    while True:
        try:
            return _set(template, json.dumps(shown, ensure_ascii=False), made_at)
        except typst.TypstError as error:
            missing = _MISSING.search(str(error))
            rest = _without(shown, missing[1]) if missing else shown
            if rest == shown:
                raise
            shown = rest


def _map_texts(data: Any, change: Callable[[str], str]) -> Any:
    if isinstance(data, str):
        return change(data)
    if isinstance(data, Mapping):
        return {name: _map_texts(value, change) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_map_texts(value, change) for value in data]
    return data


def _without(data: Any, missing_text: str) -> Any:
    """The data without a text that the compiler cannot show, as it names it: `李`, or `\\u{10fff}`."""
    missing = set(_ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), missing_text))
    # Of a letter with an accent that no font has, the compiler names the letter alone: the accents on it go first.
    bare = _map_texts(data, lambda text: _unaccented(unicodedata.normalize("NFC", text), missing))
    if bare != data:
        return bare
    # Of the many signs of the Far East the compiler names one at a time: all of them go with the first.
    shown = _map_texts(data, lambda text: _replaced(text, lambda letter: letter in missing or letter >= _FAR_EAST))
    return shown if shown != data else _map_texts(data, lambda text: _replaced(text, lambda letter: True))


def _unaccented(text: str, letters: set[str]) -> str:
    """The text with a question mark for each accent on one of these letters, however many there are."""
    kept, base = [], ""
    for letter in text:
        is_accent = unicodedata.category(letter).startswith("M")
        base = base if is_accent else letter
        kept.append("?" if is_accent and base in letters else letter)
    return "".join(kept)


def _replaced(text: str, gone: Callable[[str], bool]) -> str:
    return "".join("?" if letter > _LATIN_ENDS and gone(letter) else letter for letter in text)


def _set(template: Path, data: str, made_at: datetime) -> bytes:
    document: bytes = typst.compile(
        str(template),
        root=str(_ROOT),
        font_paths=_FONTS,
        format="pdf",
        pdf_standards="ua-1",
        timestamp=int(made_at.timestamp()),
        sys_inputs={"data": data},
    )
    return document
