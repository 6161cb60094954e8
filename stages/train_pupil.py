"""Stage train_pupil: segmentation of the pupil by pupil.variant."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.eyes.train_pupil import train_pupil

    name = f"train_pupil_{config.pupil.variant}"
    train_pupil(
        config.pupil,
        config.runtime,
        seed=config.seed,
        data=Path("data/processed/eyes"),
        out=output(f"artifacts/eyes/{name}"),
        metrics=output(f"metrics/{name}.json"),
        plots=output(f"plots/{name}"),
    )


if __name__ == "__main__":
    main()
