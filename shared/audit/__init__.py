"""The audit trail: entries that the database writes, their chain of hashes, and the triggers that record changes."""
