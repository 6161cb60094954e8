"""Stage extract_patches: spatial features of overlapping patches of every picture, in resumable jobs."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.hair.extract_patches import extract_patches

    extract_patches(
        config.patches,
        config.runtime,
        data=Path("data/processed/hair"),
        root=Path(config.hair.data.root),
        pretrained=Path("artifacts/hair/train_hair_segmenter/encoder"),
        out=output("data/patches"),
        metrics=output("metrics/extract_patches.json"),
    )


if __name__ == "__main__":
    main()
