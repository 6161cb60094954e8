"""Eyes: pupil segmentation with under 60,000 and under 10,000 parameters, and ellipse regression."""
