"""Stage train_autoencoder: what turns pictures into latents and back."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.inpaint.train_autoencoder import train_autoencoder

    train_autoencoder(
        config.autoencoder,
        config.runtime,
        seed=config.seed,
        data=Path("data/processed/inpaint"),
        out=output("artifacts/inpaint/train_autoencoder"),
        metrics=output("metrics/train_autoencoder.json"),
        plots=output("plots/train_autoencoder"),
    )


if __name__ == "__main__":
    main()
