"""Stage prepare_inpaint: originals in the layout of K-Hairstyle as what the inpainting network learns from."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.inpaint.prepare import prepare

    prepare(
        config.inpaint.data,
        config.inpaint.prepare,
        config.runtime,
        seed=config.seed,
        encoder=Path("artifacts/features/pretrain_encoder"),
        out=output("data/processed/inpaint"),
        metrics=output("metrics/prepare_inpaint.json"),
        plots=output("plots/prepare_inpaint"),
    )


if __name__ == "__main__":
    main()
