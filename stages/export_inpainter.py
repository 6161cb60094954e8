"""Stage export_inpainter: the inpainter if it passes the gate, else its verdict."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.inpaint.export_inpainter import export
    from visage.inpaint.train_inpainter import Inputs

    export(
        config.gate,
        config.inpaint.prepare,
        inputs=Inputs(Path("data/processed/inpaint"), Path("artifacts/inpaint"), Path("artifacts/features")),
        snapshots=Path("artifacts/inpaint/train_inpainter"),
        evaluation=Path("metrics/evaluate_inpainter.json"),
        out=output("artifacts/models/deep_hair_v1"),
        metrics=output("metrics/export_inpainter.json"),
    )


if __name__ == "__main__":
    main()
