"""Places of the national schema “Lieux de médiation numérique”: read, checked, imported and exported."""
