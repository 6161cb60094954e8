"""Stage evaluate_eyes: segmenters and ellipse regression on subjects they have never seen, in one table."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.eyes.evaluate import evaluate

    artifacts = Path("artifacts/eyes")
    evaluate(
        config.runtime,
        seed=config.seed,
        data=Path("data/processed/eyes"),
        models={
            "tiny": artifacts / "train_pupil_tiny",
            "micro": artifacts / "train_pupil_micro",
            "ellipse": artifacts / "train_ellipse",
        },
        metrics=output("metrics/evaluate_eyes.json"),
        plots=output("plots/evaluate_eyes"),
    )


if __name__ == "__main__":
    main()
