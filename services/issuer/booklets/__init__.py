"""A grant as a paper booklet or a page for a phone, with the nearest places to spend it; the printing of many."""
