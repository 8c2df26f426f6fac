"""What is held of a person: shown, exported, corrected, written in a letter, and erased on request or in time."""
