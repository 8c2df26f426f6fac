"""Amounts in what programs and their callers read; on paper and on pages `shared.values.french_format` writes them."""


def decimal(cents: int) -> str:
    """Euros with two decimals: `-10.50` for -1050 cents."""
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def euros(cents: int) -> str:
    """An amount within a sentence: `10.50 EUR` for 1050 cents."""
    return f"{decimal(cents)} EUR"
