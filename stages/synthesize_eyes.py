"""Stage synthesize_eyes: draws the embedded near-infrared eyes, in the layout of a published data set."""

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.eyes.synthesize import synthesize

    synthesize(config.eyes.synthesize, seed=config.seed, out=output("data/synthetic/eyes"))


if __name__ == "__main__":
    main()
