"""Stage export_faces: the classifier as safetensors, TorchScript and ONNX, checked against each other."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.faces.export import export

    export(
        config.runtime,
        seed=config.seed,
        data=Path("data/processed/faces"),
        model=Path("artifacts/faces/finetune_faces/best_model.pth"),
        encoder="artifacts/features/pretrain_encoder/encoder.safetensors",
        evaluation=Path("metrics/evaluate_faces.json"),
        out=output("artifacts/models/faces"),
        metrics=output("metrics/export_faces.json"),
    )


if __name__ == "__main__":
    main()
