"""Stage stitch_masks: masks of the test pictures, of whatever size, from blended patches."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.hair.stitch import stitch_masks

    stitch_masks(
        config.patches,
        config.runtime,
        seed=config.seed,
        data=Path("data/processed/hair"),
        root=Path(config.hair.data.root),
        pretrained=Path("artifacts/hair/train_hair_segmenter/encoder"),
        head=Path("artifacts/hair/train_patch_head"),
        out=output("data/stitched"),
        metrics=output("metrics/stitch_masks.json"),
        plots=output("plots/stitch_masks"),
    )


if __name__ == "__main__":
    main()
