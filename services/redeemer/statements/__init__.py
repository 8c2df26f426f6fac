"""Monthly statements of what each structure is owed: issued, read, printed, corrected."""
