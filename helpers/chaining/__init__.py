"""Hand-overs from a finished batch to the next step: the rules, and the claims."""
