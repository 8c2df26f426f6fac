"""The identities of beneficiaries, encrypted, and the digests by which they are recognised."""
