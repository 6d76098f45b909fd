"""Records, their versions, and what selects them."""
