"""The key that signs tokens, the secrets of a deployment and their rotation."""
