"""Contracts with operators: their states, planned stops, linking, activating and adopting cheques."""
