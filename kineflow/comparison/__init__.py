"""Runs of recipes side by side: what differs in their parameters, and what that made of their figures."""
