"""Stage export_faces: finetuned network and best head as safetensors, TorchScript and ONNX, all checked."""

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
        heads=Path("artifacts/faces/train_heads"),
        features=Path("data/features") / config.features.encoder,
        evaluation=Path("metrics/evaluate_faces.json"),
        out=output("artifacts/models/faces"),
        head_out=output("artifacts/models/faces_head"),
        metrics=output("metrics/export_faces.json"),
    )


if __name__ == "__main__":
    main()
