"""Cheques as issued: their tables and their codes."""
