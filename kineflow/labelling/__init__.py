"""Which clips somebody should look at, and what they answered."""
