"""Where attention networks look: maps for every frame, tubes, figures against true boxes, and one HTML report."""
