"""Stage prepare_eyes: any data set of eyes as memory-mapped frames, split by source, with what is bad set aside."""

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.eyes.prepare import prepare

    prepare(
        config.eyes.data,
        config.eyes.prepare,
        seed=config.seed,
        out=output("data/processed/eyes"),
        metrics=output("metrics/prepare_eyes.json"),
        plots=output("plots/prepare_eyes"),
    )


if __name__ == "__main__":
    main()
