"""The sample world: its description, its people and the plan of its year."""
