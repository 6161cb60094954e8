"""Files in and out: atomic writes, the one image decoder, dataset layouts, splits, duplicates."""
