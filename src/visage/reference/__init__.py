"""The reference pages of the documentation, made from the schema, dvc.yaml, the commands and the docstrings."""
