"""Grants: requests, their assessment, allocation and issue, one at a time or in bulk."""
