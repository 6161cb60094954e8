"""Stage evaluate_inpainter: hair painted back onto people never seen."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.inpaint.evaluate_inpainter import evaluate
    from visage.inpaint.train_inpainter import Inputs

    evaluate(
        config.tryout,
        config.runtime,
        seed=config.seed,
        inputs=Inputs(Path("data/processed/inpaint"), Path("artifacts/inpaint"), Path("artifacts/features")),
        snapshots=Path("artifacts/inpaint/train_inpainter"),
        metrics=output("metrics/evaluate_inpainter.json"),
        plots=output("plots/evaluate_inpainter"),
    )


if __name__ == "__main__":
    main()
