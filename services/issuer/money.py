"""Amounts as people read them."""


def euros(cents: int) -> str:
    """1050 cents as `10.50 EUR`."""
    return f"{cents // 100}.{cents % 100:02d} EUR"
