"""Orders to operators: creating and queueing them, sending them, and what becomes of them."""
