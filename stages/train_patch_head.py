"""Stage train_patch_head: a decoder of hair on the cached features of patches."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.hair.train_patch_head import train_patch_head

    train_patch_head(
        config.patch_head,
        config.runtime,
        seed=config.seed,
        patches=Path("data/patches"),
        data=Path("data/processed/hair"),
        out=output("artifacts/hair/train_patch_head"),
        metrics=output("metrics/train_patch_head.json"),
        plots=output("plots/train_patch_head"),
    )


if __name__ == "__main__":
    main()
