"""The identity classifier: prepare, finetune, evaluate, export."""
