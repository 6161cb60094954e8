"""Stage prepare_hair: any data set of hair as memory-mapped pictures and masks, split by person."""

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.hair.prepare import prepare

    prepare(
        config.hair.data,
        config.hair.prepare,
        seed=config.seed,
        out=output("data/processed/hair"),
        metrics=output("metrics/prepare_hair.json"),
        plots=output("plots/prepare_hair"),
    )


if __name__ == "__main__":
    main()
