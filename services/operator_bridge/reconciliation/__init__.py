"""Reconciliation: operators' statements compared with our register, the discrepancies, and each day's balance."""
