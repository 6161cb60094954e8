"""Stage finetune_faces: transfer learning of the identity classifier."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.faces.finetune import finetune

    finetune(
        config.finetune,
        config.runtime,
        size=config.faces.prepare.size,
        seed=config.seed,
        data=Path("data/processed/faces"),
        encoder="artifacts/features/pretrain_encoder/encoder.safetensors",
        out=output("artifacts/faces/finetune_faces"),
        metrics=output("metrics/finetune_faces.json"),
        plots=output("plots/finetune_faces"),
    )


if __name__ == "__main__":
    main()
