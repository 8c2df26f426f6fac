"""Training structures, their affiliations, and the contracts that they are affiliated to."""
