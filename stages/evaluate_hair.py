"""Stage evaluate_hair: every way to a hair mask on people that none has seen, in one table."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.hair.answers import answers_of
    from visage.hair.evaluate import evaluate

    data = Path("data/processed/hair")
    answers = answers_of(
        config.runtime,
        seed=config.seed,
        data=data,
        zero_shot=Path("artifacts/hair/segment_zero_shot"),
        segmenter=Path("artifacts/hair/train_hair_segmenter"),
        stitched=Path("data/stitched"),
    )
    evaluate(answers, data=data, metrics=output("metrics/evaluate_hair.json"), plots=output("plots/evaluate_hair"))


if __name__ == "__main__":
    main()
