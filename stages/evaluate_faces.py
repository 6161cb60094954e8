"""Stage evaluate_faces: heads and finetuned network on sessions they have never seen, beside the trivial baseline."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.faces.evaluate import evaluate

    evaluate(
        config.runtime,
        size=config.faces.prepare.size,
        seed=config.seed,
        data=Path("data/processed/faces"),
        model=Path("artifacts/faces/finetune_faces/best_model.pth"),
        heads=Path("artifacts/faces/train_heads"),
        features=Path("data/features") / config.features.encoder,
        metrics=output("metrics/evaluate_faces.json"),
        plots=output("plots/evaluate_faces"),
    )


if __name__ == "__main__":
    main()
