"""Procedural portraits: the embedded data set's pictures, drawn with NumPy and OpenCV alone."""
