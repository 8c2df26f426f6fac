"""Public money: conventions, envelopes, amendments, allocation and the journal."""
