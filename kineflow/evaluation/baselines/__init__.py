"""Trivial baselines: what a model has to beat before it can be said to have learnt an action."""
