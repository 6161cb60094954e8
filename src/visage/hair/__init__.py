"""Hair: segmentation of hair three ways, their comparison, and their export."""
