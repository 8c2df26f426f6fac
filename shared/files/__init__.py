"""Files in and out: CSV read and written, imports on trial or for good, and PDF documents."""
