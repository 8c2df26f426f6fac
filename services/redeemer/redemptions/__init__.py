"""Redemptions: whether a cheque may be spent, spending it, and taking that back."""
