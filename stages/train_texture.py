"""Stage train_texture: the encoder of hair texture."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.inpaint.train_texture import train_texture

    train_texture(
        config.texture,
        config.runtime,
        seed=config.seed,
        data=Path("data/processed/inpaint"),
        encoder=Path("artifacts/features/pretrain_encoder"),
        out=output("artifacts/inpaint/train_texture"),
        metrics=output("metrics/train_texture.json"),
        plots=output("plots/train_texture"),
    )


if __name__ == "__main__":
    main()
