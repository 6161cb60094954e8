"""Stage segment_zero_shot: hair of the val and test pictures without any training."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.hair.zero_shot import segment

    segment(
        config.zero_shot,
        config.runtime,
        data=Path("data/processed/hair"),
        out=output("artifacts/hair/segment_zero_shot"),
        metrics=output("metrics/segment_zero_shot.json"),
        plots=output("plots/segment_zero_shot"),
    )


if __name__ == "__main__":
    main()
