"""What is refused before a view works: too many requests, slow bodies, JSON that no honest caller sends."""
