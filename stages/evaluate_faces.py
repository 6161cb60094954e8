"""Stage evaluate_faces: the classifier on sessions it has never seen, beside the trivial baseline."""

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
        metrics=output("metrics/evaluate_faces.json"),
        plots=output("plots/evaluate_faces"),
    )


if __name__ == "__main__":
    main()
