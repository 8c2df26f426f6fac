"""The HTTP framework of the three services: the application, its errors, documents and common routes."""
