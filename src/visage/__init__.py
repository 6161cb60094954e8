"""visage: trusted, repeatable experiments on faces, hair and eyes."""

__version__ = "0.1.0"
