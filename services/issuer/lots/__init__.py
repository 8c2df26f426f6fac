"""The statement of a lot: what its cheques came to, agreed at its end, as figures, a table and a document."""
