"""Plain values that the rooms above share: no torch, no files."""
