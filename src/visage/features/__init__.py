"""Encoders: what turns a picture into features, and how the embedded default is pretrained."""
