"""Stage pretrain_encoder: an encoder for everything that follows, trained on drawn people or brought from elsewhere."""

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.features.pretrain import pretrain

    pretrain(
        config.pretrain,
        config.runtime,
        seed=config.seed,
        out=output("artifacts/features/pretrain_encoder"),
        metrics=output("metrics/pretrain_encoder.json"),
        plots=output("plots/pretrain_encoder"),
    )


if __name__ == "__main__":
    main()
