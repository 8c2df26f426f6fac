"""Cheques as the redeemer keeps them: taken in, blocked, cancelled, expired."""
