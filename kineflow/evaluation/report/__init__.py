"""One HTML report of an evaluation: a single file that needs no network, no script and no folder beside it."""
