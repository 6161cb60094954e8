"""Stage train_hair_segmenter: a network for hair, from the pretrained encoder."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.hair.train_segmenter import train_segmenter

    train_segmenter(
        config.segmenter,
        config.runtime,
        seed=config.seed,
        data=Path("data/processed/hair"),
        encoder=Path("artifacts/features/pretrain_encoder"),
        resnet=Path("data/raw/weights/resnet18.pth"),
        out=output("artifacts/hair/train_hair_segmenter"),
        metrics=output("metrics/train_hair_segmenter.json"),
        plots=output("plots/train_hair_segmenter"),
    )


if __name__ == "__main__":
    main()
