"""The tables of the bridge, the legal transitions of their states, references and discrepancies."""
