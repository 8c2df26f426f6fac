"""The outbox of notices: what somebody should be told, each of them once."""
