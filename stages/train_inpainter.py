"""Stage train_inpainter: the UNet that paints hair."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.inpaint.train_inpainter import Inputs, train_inpainter

    train_inpainter(
        config.inpainter,
        config.autoencoder.size,
        config.runtime,
        seed=config.seed,
        inputs=Inputs(Path("data/processed/inpaint"), Path("artifacts/inpaint"), Path("artifacts/features")),
        out=output("artifacts/inpaint/train_inpainter"),
        metrics=output("metrics/train_inpainter.json"),
        plots=output("plots/train_inpainter"),
    )


if __name__ == "__main__":
    main()
