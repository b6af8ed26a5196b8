"""Choosing a model where clips are few: descriptors, grouped folds, and the families that earn their place."""
