"""Registers the schema with Hydra wherever Hydra runs: inside DVC before any stage, and inside every stage.

DVC puts src/ on the path only while it looks for plugins, so the import has to happen here at the top.
"""

from hydra.core.config_store import ConfigStore

from visage.config import Config

ConfigStore.instance().store("schema", Config)
