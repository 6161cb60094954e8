"""Stage extract_features: every prepared face through the encoder once, in resumable jobs."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.features.extract import extract

    extract(
        config.features,
        config.runtime,
        data=Path("data/processed/faces"),
        pretrained=Path("artifacts/features/pretrain_encoder"),
        out=output(f"data/features/{config.features.encoder}"),
        metrics=output("metrics/extract_features.json"),
    )


if __name__ == "__main__":
    main()
