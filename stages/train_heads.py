"""Stage train_heads: several classifiers on cached features, compared on validation."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.faces.heads import train_heads

    train_heads(
        config.heads,
        config.runtime,
        seed=config.seed,
        features=Path("data/features") / config.features.encoder,
        data=Path("data/processed/faces"),
        out=output("artifacts/faces/train_heads"),
        metrics=output("metrics/train_heads.json"),
        plots=output("plots/train_heads"),
    )


if __name__ == "__main__":
    main()
