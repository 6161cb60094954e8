"""Stage train_ellipse: regression of the pupil's ellipse."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.eyes.train_ellipse import train_ellipse

    train_ellipse(
        config.ellipse,
        config.runtime,
        seed=config.seed,
        data=Path("data/processed/eyes"),
        out=output("artifacts/eyes/train_ellipse"),
        metrics=output("metrics/train_ellipse.json"),
        plots=output("plots/train_ellipse"),
    )


if __name__ == "__main__":
    main()
