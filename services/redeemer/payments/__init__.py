"""Payments of statements: the accountant's files, operators' news, set-offs, withdrawals, what is overdue."""
