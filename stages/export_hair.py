"""Stage export_hair: the trained segmenter as safetensors, TorchScript and ONNX for any size, all checked."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.hair.export import export

    export(
        config.runtime,
        seed=config.seed,
        data=Path("data/processed/hair"),
        checkpoint=Path("artifacts/hair/train_hair_segmenter/best_model.pt"),
        evaluation=Path("metrics/evaluate_hair.json"),
        out=output("artifacts/models/hair"),
        metrics=output("metrics/export_hair.json"),
    )


if __name__ == "__main__":
    main()
