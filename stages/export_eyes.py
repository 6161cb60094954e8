"""Stage export_eyes: the pupil networks as safetensors, TorchScript and ONNX below 300 KB, all checked."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.eyes.export import export

    artifacts = Path("artifacts/eyes")
    export(
        config.runtime,
        seed=config.seed,
        data=Path("data/processed/eyes"),
        models={
            "tiny": artifacts / "train_pupil_tiny",
            "micro": artifacts / "train_pupil_micro",
            "ellipse": artifacts / "train_ellipse",
        },
        evaluation=Path("metrics/evaluate_eyes.json"),
        out=output("artifacts/models"),
        metrics=output("metrics/export_eyes.json"),
    )


if __name__ == "__main__":
    main()
