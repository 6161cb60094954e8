"""Stage evaluate_eyes: segmenters and ellipse regression on subjects they have never seen, in one table."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.eyes.evaluate import evaluate

    trained = {variant: f"train_pupil_{variant}" for variant in config.eyes.variants} | {"ellipse": "train_ellipse"}
    evaluate(
        config.runtime,
        seed=config.seed,
        data=Path("data/processed/eyes"),
        models={kind: Path("artifacts/eyes") / name for kind, name in trained.items()},
        metrics=output("metrics/evaluate_eyes.json"),
        plots=output("plots/evaluate_eyes"),
    )


if __name__ == "__main__":
    main()
