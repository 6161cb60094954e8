"""Where runs are recorded: DVCLive, MLflow, experiments.db."""
